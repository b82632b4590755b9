# Writes what Ruby and Rack write, as cases for the Go tests: ruby make.rb > vectors.json
require 'base64'
require 'bigdecimal'
require 'date'
require 'digest'
require 'json'
require 'ostruct'
require 'set'
require 'rack'
require 'rack/session/abstract/id'

# What sessions hold of classes that the gateway does not know.
class Basket
  def initialize(*things) = (@things = things; @user_id = '66')
end

class Dumped
  def self._load(text) = new
  def _dump(_level) = 'user_id'
end

# Dumped with a text that has variables of its own: they take a number before the object does.
class Annotated
  def self._load(text) = new
  def initialize(note = 'a note') = (@note = note)
  def _dump(_level) = 'x'.dup.force_encoding('Shift_JIS').tap { |s| s.instance_variable_set(:@note, @note) }
end

class Marshaled
  def marshal_dump = ['a', { 'user_id' => '66' }]
  def marshal_load(_data) = nil
end

class SubHash < Hash; end
class SubText < String; end
class SubArray < Array; end
class SubRegexp < Regexp; end
Point = Struct.new(:x, :y)
module Extra; end

# The serializers of activerecord-session_store.
module Store
  def self.marshal(data) = ::Base64.encode64(Marshal.dump(data))
  def self.json(data) = JSON.generate(data)
end

$cases = []

def add(name, data, want, path: ['user_id'], **more)
  $cases << { name: name, kind: 'rails', data: ::Base64.strict_encode64(data), path: path, want: want.to_s,
              **(want.nil? ? { error: true } : {}), **more }
end

def dump(name, session, want, **more) = add(name, Store.marshal(session), want, **more)

dump 'a number', { 'user_id' => 42 }, 42
dump 'as a symbol', { user_id: 42 }, 42
dump 'text', { '_csrf_token' => 'x' * 44, 'user_id' => 'a-1' }, 'a-1'
dump 'beyond ASCII', { 'zoë' => 'zoë' }, 'zoë', path: ['zoë']
dump 'a symbol beyond ASCII', { zoë: :noë, user_id: :noë }, 'noë'
dump 'bytes', { 'user_id' => 'a-1'.b }, 'a-1'
dump 'ASCII', { 'user_id' => 'a-1'.encode('US-ASCII') }, 'a-1'
[0, 1, -1, 122, 123, -123, -124, 255, 256, -256, -257, 65_535, 65_536, -65_536, 16_777_216, -16_777_217,
 2**30 - 1, 2**30, -2**30, -2**30 - 1, 2**31, 2**53 + 1, -2**53 - 1, 2**62, 2**64, 10**40].each do |n|
  dump "the number #{n}", { 'user_id' => n }, n
end
dump 'Devise', { 'warden.user.user.key' => [[7], '$2a$12$abcdefghijklmnopqrstuv'] }, 7, path: ['warden.user.user.key', '0', '0']
dump 'nested', { 'a' => { b: [nil, { 'c' => 'd' }] } }, 'd', path: %w[a b 1 c]
dump 'numbers as names', { 'a' => { 3 => 'd', nil => 'e', 1.5 => 'f' } }, 'd', path: %w[a 3]
dump 'a hash with a default', Hash.new('66').merge('user_id' => '42'), 42
dump 'a hash of a subclass', SubHash['user_id', '42'], 42
dump 'an array of a subclass', { 'a' => SubArray['42'] }, 42, path: %w[a 0]
dump 'text of a subclass', { 'user_id' => SubText.new('42') }, 42
dump 'a hash extended by a module', { 'a' => {}.merge('b' => '42').extend(Extra) }, 42, path: %w[a b]
dump 'both a string and a symbol', { 'user_id' => 1, user_id: 2 }, nil
dump 'both, elsewhere', { 'x' => 1, x: 2, 'user_id' => 42 }, 42

# Whatever stands before it, the link to the ID must name the ID.
id = 'a shared text'
cycle = []
cycle << cycle
with_variables = 'text'.dup.tap { |s| s.instance_variable_set(:@note, ['a note', 1.5]) }
hash_with_variables = { 1 => 2 }.tap { |h| h.instance_variable_set(:@note, 'a note') }
{
  'nothing' => nil, 'truth' => true, 'a small number' => 5, 'a large number' => 2**70, 'a huge number' => 2**9999, 'a fraction' => 1.5, 'infinity' => -Float::INFINITY,
  'not a number' => Float::NAN, 'text' => 'x', 'bytes' => "\xff".b, 'Shift_JIS' => 'あ'.encode('Shift_JIS'), 'UTF-16' => 'x'.encode('UTF-16LE'), 'a symbol' => :x,
  'a symbol beyond ASCII' => :é, 'symbols twice' => [:x, :x, :é, :é], 'an array' => [1, 'x', [2.5]], 'a hash' => { 'x' => 1, y: 2.5 },
  'a hash with a default' => Hash.new('x').merge(1 => 2), 'a regular expression' => /é+/mi, 'a regular expression of ASCII' => /a/, 'a class' => String, 'a module' => Kernel,
  'an object' => Basket.new('x', 1.5, :y), 'a struct' => Point.new('x', 2**70), 'marshal_dump' => Marshaled.new, '_dump' => Dumped.new, '_dump with variables' => Annotated.new,
  'a time' => Time.at(1_600_000_000, 123_456_789, :nsec, in: '+09:00'), 'a local time' => Time.now, 'UTC' => Time.now.utc, 'a date' => Date.new(2020, 1, 1), 'a decimal' => BigDecimal('1.5'),
  'a rational' => Rational(1, 3), 'a complex number' => Complex(1, 2.5), 'a range' => ('a'..'b'), 'a set' => Set['x', 1], 'an open struct' => OpenStruct.new(x: 'y'),
  'a subclass of Hash' => SubHash['x', 1], 'a subclass of String' => SubText.new('x'), 'a regular expression of a subclass' => SubRegexp.new('é'),
  'an extended text' => 'x'.dup.extend(Extra), 'an extended object' => Basket.new('x').extend(Extra), 'text with variables' => with_variables,
  'a hash with variables' => hash_with_variables, 'a cycle' => cycle, 'an exception' => RuntimeError.new('x'), 'links' => [with_variables, with_variables, cycle]
}.each do |name, before|
  dump "a link behind #{name}", { 'shared' => id, 'before' => before, 'other' => 'x', 'user_id' => id }, id
  dump "a link behind #{name}, twice", { 'before' => [before, before], 'shared' => [id], 'other' => ['x', 'y'], 'user_id' => id }, id
end

# Random sessions, each value of which may come again anywhere: a link too many or too few names another.
def grow(pool, depth)
  return pool.sample if depth.zero?

  made = case rand(7)
         when 0 then Array.new(rand(4)) { grow(pool, depth - 1) }
         when 1 then Array.new(rand(4)) { |i| ["k#{i}", grow(pool, depth - 1)] }.to_h
         when 2 then Point.new(grow(pool, depth - 1), grow(pool, depth - 1))
         when 3 then Basket.new(grow(pool, depth - 1), grow(pool, depth - 1))
         when 4 then Marshaled.new
         when 5 then Annotated.new
         else "text #{rand(1000)}".dup.tap { |s| s.instance_variable_set(:@note, grow(pool, depth - 1)) if rand(2).zero? }
         end
  pool << made
  made
end

30.times do |i|
  pool = [nil, true, 7, 2**70, 1.5, :sym, :é, 'ASCII'.encode('US-ASCII'), 'x'.encode('UTF-16LE'), /r/, /é/, String, Time.now, id, 'another text']
  dump "random #{i}", { 'shared' => [id, pool[-1]], 'before' => Array.new(3) { grow(pool, 4) }, 'again' => pool.sample(5), 'user_id' => id }, id
end

dump 'a link into variables of _dump', { 'before' => Annotated.new(id), 'user_id' => id }, id
dump 'nobody', { 'csrf' => 'x' }, ''
dump 'nil', { 'user_id' => nil }, ''
dump 'false', { 'user_id' => false }, ''
dump 'empty text', { 'user_id' => '' }, ''
dump 'empty', {}, ''
dump 'true', { 'user_id' => true }, nil
dump 'a fraction', { 'user_id' => 4.5 }, nil
dump 'a huge number', { 'user_id' => 2**9999 }, nil
dump 'an object', { 'user_id' => Basket.new }, nil
dump 'an array', { 'user_id' => [1] }, nil
dump 'a hash', { 'user_id' => {} }, nil
dump 'Shift_JIS', { 'user_id' => 'あ'.encode('Shift_JIS') }, nil
dump 'not UTF-8', { 'user_id' => "a\xff" }, nil
dump 'no hash', ['user_id', 42], nil
deep = '42'
80.times { deep = [deep] }
dump 'too deep', { 'x' => deep, 'user_id' => 42 }, nil

add 'the bytes themselves', Marshal.dump({ 'user_id' => 42 }), 42
add 'json', Store.json({ 'user_id' => 42 }), 42
add 'json, Devise', Store.json({ 'warden.user.user.key' => [[9_007_199_254_740_993], 'x'] }), 9_007_199_254_740_993, path: ['warden.user.user.key', '0', '0']

before = '$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW'
after = '$2a$12$aaaaaaaaaaaaaaaaaaaaaaPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW'
$cases << { name: 'Devise, the password was changed', kind: 'devise', want: '7', password: before, otherPassword: after,
            data: ::Base64.strict_encode64(Store.marshal({ 'warden.user.user.key' => [[7], before[0, 29]], 'warden.user.user.session' => { 'last_request_at' => 1 } })) }

['a' * 32, '0' * 32, 'zoë'].each do |public_id|
  $cases << { name: "the private ID of #{public_id}", kind: 'private', value: public_id, want: Rack::Session::SessionId.new(public_id).private_id }
end

puts JSON.pretty_generate($cases)
