<?php
// A router, the way they are written: the path without the query, decoded, trimmed. What calls it as a front controller
// may have found the path already.
$path = $found ?? urldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '/');
$path = '/' . trim($path, '/ ');
if ($path === '/whoami.php') {
    require __DIR__ . '/whoami.php';
    return;
}
foreach (file(dirname(__DIR__) . '/areas', FILE_IGNORE_NEW_LINES) as $line) {
    [$prefix, $says] = explode(' ', $line);
    if ($path === $prefix || str_starts_with($path, "$prefix/")) {
        echo $says, "\n";
        return;
    }
}
http_response_code(404);
echo "nothing here\n";
