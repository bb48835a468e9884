<?php
/**
 * Plugin Name: tagstitch
 * Description: Page views, signed-in customers, products and orders for your tagstitch collector.
 *
 * Beside this file:  tagstitch snippet --site shop > snippet.html
 * In wp-config.php, with what  tagstitch key create --scope identify --site shop  prints:
 *   define('TAGSTITCH_SITE', 'shop');
 *   define('TAGSTITCH_KEY_VERSION', 1);
 *   define('TAGSTITCH_SECRET', '64 hexadecimal digits');
 */

defined('ABSPATH') || exit;

/** Print one call of the tag. What goes into it is data: nothing of it can end the script element. */
function tagstitch_call(...$call) {
    $parts = array_map(fn ($part) => wp_json_encode($part, JSON_HEX_TAG | JSON_HEX_AMP), $call);
    wp_print_inline_script_tag('tagstitch(' . implode(', ', $parts) . ');');
}

/** Prove that the shop said who this is. */
function tagstitch_sign($value) {
    $expires = time() + DAY_IN_SECONDS;
    $message = TAGSTITCH_SITE . "\ncustomer\n$value\n$expires";
    return TAGSTITCH_KEY_VERSION . ".$expires." . hash_hmac('sha256', $message, TAGSTITCH_SECRET);
}

function tagstitch_item($product, $price, $quantity) {
    return [
        'item_id' => $product->get_sku() ?: (string) $product->get_id(),
        'item_name' => $product->get_name(),
        'price' => (float) $price,
        'quantity' => (int) $quantity,
    ];
}

// First in the head, before other scripts.
add_action('wp_head', function () {
    readfile(__DIR__ . '/snippet.html');
    if (is_user_logged_in()) {
        $id = (string) get_current_user_id();
        tagstitch_call('identify', $id, ['signature' => tagstitch_sign($id)]);
    }
    // Who has signed out may get the next page from a cache: a cookie brings the news.
    wp_print_inline_script_tag(
        "if (/(^|; )tagstitch_reset=1/.test(document.cookie)) {\n"
        . "  document.cookie = 'tagstitch_reset=; path=/; max-age=0';\n"
        . "  tagstitch('reset');\n"
        . '}'
    );
}, 1);

add_action('wp_logout', function () {
    setcookie('tagstitch_reset', '1', ['path' => '/', 'samesite' => 'Lax', 'secure' => is_ssl()]);
});

add_action('woocommerce_after_single_product', function () {
    global $product;
    $price = (float) wc_get_price_excluding_tax($product);
    tagstitch_call('track', 'view_item', [
        'currency' => get_woocommerce_currency(),
        'value' => $price,
        'items' => [tagstitch_item($product, $price, 1)],
    ]);
});

add_action('woocommerce_before_checkout_form', function () {
    $items = [];
    foreach (WC()->cart->get_cart() as $line) {
        $items[] = tagstitch_item($line['data'], wc_get_price_excluding_tax($line['data']), $line['quantity']);
    }
    tagstitch_call('track', 'begin_checkout', [
        'currency' => get_woocommerce_currency(),
        'value' => (float) WC()->cart->get_cart_contents_total(),
        'items' => $items,
    ]);
});

// One order is one purchase, however often its thank-you page is opened.
add_action('woocommerce_thankyou', function ($order_id) {
    $order = wc_get_order($order_id);
    if (!$order || $order->has_status('failed') || $order->get_meta('_tagstitch_purchase')) {
        return;
    }
    $items = [];
    foreach ($order->get_items() as $line) {
        if ($line->get_product()) {
            $items[] = tagstitch_item($line->get_product(), $order->get_item_total($line), $line->get_quantity());
        }
    }
    tagstitch_call('track', 'purchase', [
        'transaction_id' => (string) $order->get_order_number(),
        'currency' => $order->get_currency(),
        'value' => round($order->get_total() - $order->get_total_tax() - $order->get_shipping_total(), 2),
        'tax' => (float) $order->get_total_tax(),
        'shipping' => (float) $order->get_shipping_total(),
        'coupon' => implode(',', $order->get_coupon_codes()),
        'items' => $items,
    ]);
    $order->update_meta_data('_tagstitch_purchase', '1');
    $order->save();
});
