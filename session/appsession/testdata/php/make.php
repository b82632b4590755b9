<?php
// Writes the sessions PHP writes, as cases for the Go tests: php make.php > vectors.json

// Kept is a session handler that keeps what PHP gives it to write.
class Kept implements SessionHandlerInterface
{
    public $data = '';
    public function open($path, $name): bool { return true; }
    public function close(): bool { return true; }
    public function read($id): string { return ''; }
    public function write($id, $data): bool { $this->data = $data; return true; }
    public function destroy($id): bool { return true; }
    public function gc($lifetime): int { return 0; }
}

class Basket
{
    public $items = ['one', 2, null];
    protected $owner = '66';
    private $user_id = '67';
}

class Old implements Serializable
{
    public function serialize() { return '}";user_id|i:66;'; }
    public function unserialize($data) {}
}

enum Size: string
{
    case Large = 'user_id|i:66;';
}

error_reporting(E_ALL & ~E_DEPRECATED);
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');

$shared = ['user_id' => 66];
$sessions = [
    ['a number', ['user_id' => 42], ['user_id'], '42'],
    ['text', ['user_id' => 'a-1'], ['user_id'], 'a-1'],
    ['the largest number', ['user_id' => PHP_INT_MAX], ['user_id'], '9223372036854775807'],
    ['beyond ASCII', ['name' => "Zoë\0|;\"}", 'user_id' => 'zoë'], ['user_id'], 'zoë'],
    ['nested', ['auth' => ['a' => true, 'id' => 7, 'b' => []], 'x' => false], ['auth', 'id'], '7'],
    ['a list', ['auth' => ['x', 'y']], ['auth', '1'], 'y'],
    ['below zero', ['auth' => [-3 => 'y']], ['auth', '-3'], 'y'],
    ['others before it', ['f' => 1.5, 'inf' => INF, 'nan' => NAN, 'e' => 1e100, 'n' => null, 't' => true, 's' => '', 'user_id' => 42], ['user_id'], '42'],
    ['objects before it', ['o' => new Basket(), 'c' => new ArrayObject([1, new Basket()]), 'd' => new DateTime('2020-01-01'),
        'old' => new Old(), 'size' => Size::Large, 'list' => [new Basket(), new Old()], 'user_id' => 42], ['user_id'], '42'],
    ['references before it', ['a' => &$shared, 'b' => &$shared, 'c' => $o = new Basket(), 'd' => $o, 'user_id' => 42], ['user_id'], '42'],
    ['a text like a session', ['note' => 'user_id|i:66;', 'user_id' => 42], ['user_id'], '42'],
    ['nobody', ['csrf' => 'x'], ['user_id'], ''],
    ['null', ['user_id' => null], ['user_id'], ''],
    ['false', ['user_id' => false], ['user_id'], ''],
    ['empty text', ['user_id' => ''], ['user_id'], ''],
    ['empty', [], ['user_id'], ''],
    ['true', ['user_id' => true], ['user_id'], null],
    ['a fraction', ['user_id' => 4.5], ['user_id'], null],
    ['an object', ['user_id' => new Basket()], ['user_id'], null],
    ['inside an object', ['user' => new Basket()], ['user', 'user_id'], null],
    ['an array', ['user_id' => [1]], ['user_id'], null],
    ['not UTF-8', ['user_id' => "a\xff"], ['user_id'], null],
    ['a line end', ['user_id' => "a\n"], ['user_id'], null],
];

$cases = [];
foreach (['php', 'php_serialize'] as $handler) {
    ini_set('session.serialize_handler', $handler);
    foreach ($sessions as [$name, $values, $path, $want]) {
        $kept = new Kept();
        session_set_save_handler($kept, false);
        session_id('x');
        session_start();
        $_SESSION = $values;
        session_write_close();
        $case = ['name' => "$handler: $name", 'kind' => 'php', 'data' => base64_encode($kept->data), 'path' => $path, 'want' => (string) $want];
        if ($want === null) {
            $case['error'] = true;
        }
        $cases[] = $case;
    }
}
echo json_encode($cases, JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES), "\n";
