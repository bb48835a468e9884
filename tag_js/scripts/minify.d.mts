export declare const INTERNAL: string[];
export declare function shrink(text: string): Promise<string>;
