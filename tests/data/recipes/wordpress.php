<?php
// WordPress and WooCommerce as far as examples/woocommerce/tagstitch.php asks for them, with the real functions' names,
// arguments and output. Prints the page of a scenario:  php wordpress.php PLUGIN SCENARIO < facts.json
// Not WordPress: what the hooks do there is WordPress's word, not this file's.

error_reporting(E_ALL);
set_error_handler(function ($level, $message, $file, $line) {
    throw new ErrorException($message, 0, $level, $file, $line);
});

const ABSPATH = '/';
const DAY_IN_SECONDS = 86400;

[, $plugin, $scenario] = $argv;
$facts = json_decode(stream_get_contents(STDIN), true, 32, JSON_THROW_ON_ERROR);
define('TAGSTITCH_SITE', $facts['site']);
define('TAGSTITCH_KEY_VERSION', $facts['version']);
define('TAGSTITCH_SECRET', $facts['secret']);

$hooks = [];

function add_action($hook, $run, $priority = 10) {
    $GLOBALS['hooks'][$hook][$priority][] = $run;
}

function do_action($hook, ...$arguments) {
    $found = $GLOBALS['hooks'][$hook] ?? [];
    ksort($found);
    foreach (array_merge(...array_values($found)) as $run) {
        $run(...$arguments);
    }
}

function wp_json_encode($value, $flags = 0, $depth = 512) {
    return json_encode($value, $flags, $depth);
}

function wp_print_inline_script_tag($script) {
    echo "<script>\n$script\n</script>\n";
}

function is_user_logged_in() {
    return get_current_user_id() > 0;
}

function get_current_user_id() {
    return $GLOBALS['facts']['user'];
}

function is_ssl() {
    return true;
}

function get_woocommerce_currency() {
    return 'EUR';
}

function wc_get_price_excluding_tax($product) {
    return $product->price;
}

function wc_get_order($id) {
    return $id === 77 ? $GLOBALS['order'] : false;
}

function WC() {
    return $GLOBALS['shop'];
}

class Product {
    public function __construct(public int $id, public string $sku, public string $name, public string $price) {}
    public function get_id() { return $this->id; }
    public function get_sku() { return $this->sku; }
    public function get_name() { return $this->name; }
}

class Line {
    public function __construct(public ?Product $product, public int $quantity) {}
    public function get_product() { return $this->product ?? false; }
    public function get_quantity() { return $this->quantity; }
}

class Cart {
    public function __construct(public array $lines) {}
    public function get_cart() { return $this->lines; }
    public function get_cart_contents_total() { return '37.5'; }
}

class Order {
    public array $meta = [];
    public array $saved = [];
    public function __construct(public string $status, public array $lines) {}
    public function has_status($status) { return $this->status === $status; }
    public function get_meta($key) { return $this->saved[$key] ?? ''; }
    public function update_meta_data($key, $value) { $this->meta[$key] = $value; }
    public function save() { $this->saved = $this->meta; }
    public function get_items() { return $this->lines; }
    public function get_item_total($line) { return (float) $line->product->price; }
    public function get_order_number() { return '1077'; }
    public function get_currency() { return 'EUR'; }
    public function get_total() { return '49.5'; }
    public function get_total_tax() { return '7.1'; }
    public function get_shipping_total() { return '4.9'; }
    public function get_coupon_codes() { return ['may', 'ten']; }
}

$lamp = new Product(5, 'LAMP-1', $facts['product_name'], '12.5');
$card = new Product(9, '', 'Gift card', '12.5');
$product = $lamp;
$shop = (object) ['cart' => new Cart([['data' => $lamp, 'quantity' => 2], ['data' => $card, 'quantity' => 1]])];
$order = new Order($facts['order_status'], [new Line($lamp, 2), new Line($card, 1), new Line(null, 1)]);

require $plugin;

echo "<!doctype html>\n<html lang=\"en\"><head><title>$scenario</title>\n";
do_action('wp_head');
echo "</head><body>\n";
foreach ($facts['hooks'] as [$hook, $argument]) {
    do_action($hook, ...($argument === null ? [] : [$argument]));
}
echo "</body></html>\n";
