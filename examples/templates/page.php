<?php
// In a script element JSON must not hold a < or an &: a name may be </script>.
$json = fn ($value) => json_encode($value, JSON_HEX_TAG | JSON_HEX_AMP | JSON_THROW_ON_ERROR);
?>
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title><?= htmlspecialchars($title) ?></title>
    <?php readfile(__DIR__ . '/tagstitch.html') ?>
    <?php if ($customer): ?>
    <script>
      tagstitch('identify', <?= $json($customer['id']) ?>, { signature: <?= $json($customer['signature']) ?> });
    </script>
    <?php endif ?>
    <?php if ($order): ?>
    <script>
      tagstitch('track', 'purchase', <?= $json($order) ?>);
    </script>
    <?php endif ?>
  </head>
  <body>
    <h1><?= htmlspecialchars($title) ?></h1>
  </body>
</html>
