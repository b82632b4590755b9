<?php
// Says what PHP thinks of passwords: reads lines of  hash <tab> password in hexadecimal, answers each with
// 1, 0, or - where PHP does not know such hashes. Hashes of WordPress are checked as its login form does.

while (($line = fgets(STDIN)) !== false) {
    [$hash, $hex] = explode("\t", rtrim($line, "\n"));
    $password = hex2bin($hex);
    if (str_starts_with($hash, '$wp$')) {
        $key = base64_encode(hash_hmac('sha384', trim(addslashes($password)), 'wp-sha384', true));
        $answer = password_verify($key, substr($hash, 3)) ? '1' : '0';
    } elseif (preg_match('/^\$(2[aby]|argon2id?|[156])\$/', $hash)) {
        $answer = password_verify($password, $hash) ? '1' : '0';
    } else {
        $answer = '-';
    }
    echo "$answer\n";
}
