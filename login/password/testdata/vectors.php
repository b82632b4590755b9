<?php
// Hashes made by PHP, for make-vectors.sh. The passwords are the arguments.

function line(string $tool, string $scheme, string $password, string $hash): void {
    echo "$tool\t$scheme\t$password\t$hash\n";
}

// WordPress 6.8, wp_hash_password. Its login form gives it passwords with backslashes
// (wp_magic_quotes), its command line does not.
function wordpress(string $password): string {
    $key = base64_encode(hash_hmac('sha384', trim($password), 'wp-sha384', true));
    return '$wp' . password_hash($key, PASSWORD_BCRYPT, ['cost' => 4]);
}

// phpass' base64, lowest bits first.
function encode64(string $bytes): string {
    $digits = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
    $bits = '';
    foreach (str_split($bytes) as $byte) {
        $bits = sprintf('%08b', ord($byte)) . $bits;
    }
    $text = '';
    while ($bits !== '') {
        $text .= $digits[bindec(substr($bits, -6))];
        $bits = strlen($bits) > 6 ? substr($bits, 0, -6) : '';
    }
    return $text;
}

// Drupal 7 to 10.0, PhpassHashedPassword: written from its description, not Drupal's code.
function drupal(string $password): string {
    $salt = encode64(random_bytes(6));
    $sum = hash('sha512', $salt . $password, true);
    for ($i = 0; $i < 2 ** 7; $i++) {
        $sum = hash('sha512', $sum . $password, true);
    }
    return substr('$S$5' . $salt . encode64($sum), 0, 55); // 5 is 7 in this base64
}

$php = 'PHP ' . PHP_VERSION;
$passwords = array_slice($argv, 1);
foreach ($passwords as $p) {
    $salt = encode64(random_bytes(6));
    line($php, 'bcrypt', $p, password_hash($p, PASSWORD_BCRYPT, ['cost' => 4]));
    line($php, 'argon2id', $p, password_hash($p, PASSWORD_ARGON2ID, ['memory_cost' => 64, 'time_cost' => 1, 'threads' => 1]));
    line($php, 'argon2i', $p, password_hash($p, PASSWORD_ARGON2I, ['memory_cost' => 64, 'time_cost' => 3, 'threads' => 1]));
    line($php, 'sha256crypt', $p, crypt($p, '$5$rounds=1000$' . $salt . '$'));
    line($php, 'sha512crypt', $p, crypt($p, '$6$rounds=1000$' . $salt . '+/=x$'));
    line($php, 'md5crypt', $p, crypt($p, '$1$' . $salt . '$'));
    line("$php as WordPress' form", 'bcrypt-wordpress', $p, wordpress(addslashes($p)));
    line("$php as WordPress' command line", 'bcrypt-wordpress', $p, wordpress($p));
    line("$php as Drupal", 'phpass-sha512', $p, drupal(trim($p)));
}
foreach ([PASSWORD_BCRYPT => 'bcrypt', PASSWORD_ARGON2ID => 'argon2id', PASSWORD_ARGON2I => 'argon2i'] as $method => $scheme) {
    line($php, $scheme, $passwords[0], password_hash($passwords[0], $method));
}
