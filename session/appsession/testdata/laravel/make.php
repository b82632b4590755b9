<?php
// Writes the cookies Laravel writes, as cases for the Go tests: php make.php > vectors.json
require_once 'Illuminate/Encryption/autoload.php';
require_once 'Illuminate/Cookie/autoload.php';

use Illuminate\Cookie\CookieValuePrefix;
use Illuminate\Cookie\Middleware\EncryptCookies;
use Illuminate\Encryption\Encrypter;
use Illuminate\Support\Str;
use Symfony\Component\HttpFoundation\Cookie;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;

class SerializingCookies extends EncryptCookies
{
    protected static $serialize = true;
}

// sent is the value of a cookie as it stands in the header, after Laravel's own middleware.
function sent($middleware, $name, $value)
{
    $response = $middleware->handle(new Request(), function () use ($name, $value) {
        $response = new Response();
        $response->headers->setCookie(Cookie::create($name, $value));
        return $response;
    });
    preg_match('/=([^;]*)/', (string) $response->headers->getCookies()[0], $match);
    return $match[1];
}

$name = 'laravel_session';
$other = 'base64:' . base64_encode(random_bytes(32));
$cases = [];
$add = function ($case, $key, $value, $want) use (&$cases, $name) {
    $cases[] = ['name' => $case, 'kind' => 'cookie', 'scheme' => 'laravel', 'cookie' => $name,
        'secrets' => (array) $key, 'value' => $value, 'want' => $want];
};

foreach (['AES-128-CBC', 'AES-256-CBC', 'AES-128-GCM', 'AES-256-GCM'] as $cipher) {
    $raw = Encrypter::generateKey($cipher);
    $key = 'base64:' . base64_encode($raw);
    $encrypter = new Encrypter($raw, $cipher);
    $cookies = new EncryptCookies($encrypter);
    $id = Str::random(40);
    $value = sent($cookies, $name, $id);
    $add("$cipher", $key, $value, $id);
    $add("$cipher, an older key", [$other, $key], $value, $id);
    $add("$cipher, of another key", $other, $value, '');
    $add("$cipher, serialised", $key, sent(new SerializingCookies($encrypter), $name, $id), $id);
    $add("$cipher, before 7", $key, rawurlencode($encrypter->encryptString($id)), $id);
    $add("$cipher, before 5.6", $key, rawurlencode($encrypter->encrypt($id)), $id);
    $add("$cipher, of another cookie", $key, sent($cookies, 'remember_web', $id), '');
    $add("$cipher, no session ID", $key, sent($cookies, $name, 'x'), '');
    $add("$cipher, a list", $key, rawurlencode($encrypter->encrypt([$id])), '');
    $tampered = base64_decode(rawurldecode($value));
    $at = strpos($tampered, '"value":"') + 9;
    $tampered[$at] = $tampered[$at] === 'A' ? 'B' : 'A';
    $add("$cipher, tampered", $key, rawurlencode(base64_encode($tampered)), '');
    // CBC alone would decrypt this to another session ID.
    $flipped = json_decode(base64_decode($encrypter->encryptString($id)), true);
    $iv = base64_decode($flipped['iv']);
    $iv[0] = $iv[0] ^ $id[0] ^ ($id[0] === 'A' ? 'B' : 'A');
    $flipped['iv'] = base64_encode($iv);
    $add("$cipher, a flipped bit", $key, rawurlencode(base64_encode(json_encode($flipped))), '');
    $prefix = CookieValuePrefix::create($name, base64_decode(substr($other, 7)));
    $add("$cipher, the prefix of an older key", [$key, $other], rawurlencode($encrypter->encryptString($prefix . $id)), $id);
}
// Only who has the key can write such padding.
foreach (['too long' => "\xff", 'none' => "\0", 'of several kinds' => "\1\2"] as $what => $end) {
    $iv = base64_encode(random_bytes(16));
    $text = str_pad($end, 16, 'x', STR_PAD_LEFT);
    $text = base64_encode(openssl_encrypt($text, 'aes-256-cbc', $raw, OPENSSL_RAW_DATA | OPENSSL_ZERO_PADDING, base64_decode($iv)));
    $mac = hash_hmac('sha256', $iv . $text, $raw);
    $add("padding $what", $key, rawurlencode(base64_encode(json_encode(['iv' => $iv, 'value' => $text, 'mac' => $mac]))), '');
}

$plain = 'thirty-two characters, no base64';
$id = Str::random(40);
$add('a key without base64', $plain, sent(new EncryptCookies(new Encrypter($plain, 'AES-256-CBC')), $name, $id), $id);

echo json_encode($cases, JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES), "\n";
