export declare const INTERNAL: string[];
export declare const SHARED: string[];
export declare function shrink(text: string, isTag?: boolean): Promise<string>;
