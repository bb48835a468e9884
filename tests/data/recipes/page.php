<?php
// Renders examples/templates/page.php with the facts of a test:  php page.php TEMPLATE < facts.json
$facts = json_decode(stream_get_contents(STDIN), true, 32, JSON_THROW_ON_ERROR);
['title' => $title, 'customer' => $customer, 'order' => $order] = $facts;
require $argv[1];
