package appsession

import (
	"regexp"
	"strconv"
	"strings"
)

// PHPUser gives the user ID at path in $_SESSION, for applications that keep it in a table of their own:
// what session_encode() and serialize($_SESSION) write, which are session.serialize_handler php
// (name|value...) and php_serialize. Path is for instance user_id, or auth, id. Objects are read over,
// never made; references (&) are not followed. "" when nobody is logged in or data is empty.
// ErrMalformed, ErrTooLarge, ErrUser.
func PHPUser(data string, path []string) (userID string, err error) {
	if len(data) > MaxPayload {
		return "", ErrTooLarge
	}
	session, err := parsePHP(data)
	if err != nil {
		return "", err
	}
	return userAt(session, path)
}

// phpArray: a name in $_SESSION that looks like this is nobody's, so the handlers can be told apart.
var phpArray = regexp.MustCompile(`^a:[0-9]+:\{`)

func parsePHP(data string) (*table, error) {
	r := &phpReader{data: data}
	session := &table{}
	if phpArray.MatchString(data) {
		v, err := r.value(0)
		if err != nil {
			return nil, err
		}
		if r.data != "" {
			return nil, malformed("something follows what PHP's serialize wrote")
		}
		session, _ = v.(*table)
		return session, nil
	}
	for r.data != "" {
		name, err := r.until('|', len(r.data))
		if err != nil {
			return nil, err
		}
		v, err := r.value(0)
		if err != nil {
			return nil, err
		}
		if !session.add(name, v) {
			return nil, errTwice
		}
	}
	return session, nil
}

var errPHP = malformed("it is cut off or not what PHP's session handlers php and php_serialize write")

// maxPHPNumber bounds the text of a number, in bytes.
const maxPHPNumber = 64

// phpReader reads what PHP's serialize() writes.
type phpReader struct{ data string }

func (r *phpReader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	kind, err := r.kind()
	if err != nil {
		return nil, err
	}
	switch kind {
	case 'N':
		return nil, nil
	case 'b':
		text, err := r.until(';', 1)
		if err != nil || text != "0" && text != "1" {
			return nil, errPHP
		}
		return text == "1", nil
	case 'i':
		return r.integer()
	case 'd':
		_, err := r.until(';', maxPHPNumber)
		return other("a number with a fraction"), err
	case 'r', 'R':
		_, err := r.until(';', maxPHPNumber)
		return other("a reference to another value"), err
	case 's':
		text, err := r.text()
		if err != nil {
			return nil, err
		}
		return text, r.expect(";")
	case 'a':
		return r.array(depth)
	}
	return r.object(kind, depth)
}

// kind reads the letter and what separates it from the value.
func (r *phpReader) kind() (byte, error) {
	if len(r.data) < 2 {
		return 0, errPHP
	}
	kind, separator := r.data[0], byte(':')
	if kind == 'N' {
		separator = ';'
	}
	if r.data[1] != separator {
		return 0, errPHP
	}
	r.data = r.data[2:]
	return kind, nil
}

func (r *phpReader) integer() (any, error) {
	text, err := r.until(';', maxPHPNumber)
	if err != nil || !isInteger(text) {
		return nil, errPHP
	}
	return integer(text), nil
}

// array reads <count>:{<key><value>...}. Keys are whole numbers and texts; PHP has no "1" beside 1, so
// none stands there twice.
func (r *phpReader) array(depth int) (any, error) {
	n, err := r.count(":{")
	t := &table{}
	for i := 0; i < n && err == nil; i++ {
		var key, v any
		if key, err = r.value(depth + 1); err != nil {
			return nil, err
		}
		name, ok := marshalName(key)
		if !ok {
			return nil, errPHP
		}
		if v, err = r.value(depth + 1); err == nil && !t.add(name, v) {
			return nil, errTwice
		}
	}
	if err != nil {
		return nil, err
	}
	return t, r.expect("}")
}

// object reads over an object: O with its properties, C with the bytes its class wrote, E a case of an enum.
func (r *phpReader) object(kind byte, depth int) (any, error) {
	const v = other("a PHP object")
	if kind != 'O' && kind != 'C' && kind != 'E' {
		return nil, errPHP
	}
	if _, err := r.text(); err != nil {
		return nil, err
	}
	if kind == 'E' {
		return v, r.expect(";")
	}
	if err := r.expect(":"); err != nil {
		return nil, err
	}
	if kind == 'O' {
		_, err := r.array(depth)
		return v, err
	}
	n, err := r.count(":{")
	if err != nil {
		return nil, err
	}
	r.data = r.data[n:]
	return v, r.expect("}")
}

// text reads <length>:"<bytes>".
func (r *phpReader) text() (string, error) {
	n, err := r.count(`:"`)
	if err != nil {
		return "", err
	}
	text := r.data[:n]
	r.data = r.data[n:]
	return text, r.expect(`"`)
}

// count reads a number and what stands behind it. A number of more things than there are bytes left is
// refused at once.
func (r *phpReader) count(behind string) (int, error) {
	digits, err := r.until(behind[0], maxPHPNumber)
	if err != nil {
		return 0, err
	}
	if err := r.expect(behind[1:]); err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(digits)
	if err != nil || strconv.Itoa(n) != digits || n < 0 || n > len(r.data) {
		return 0, errPHP
	}
	return n, nil
}

// until reads at most limit bytes up to the mark, which it reads too.
func (r *phpReader) until(mark byte, limit int) (string, error) {
	end := strings.IndexByte(r.data[:min(len(r.data), limit+1)], mark)
	if end < 0 {
		return "", errPHP
	}
	text := r.data[:end]
	r.data = r.data[end+1:]
	return text, nil
}

func (r *phpReader) expect(text string) error {
	rest, ok := strings.CutPrefix(r.data, text)
	if !ok {
		return errPHP
	}
	r.data = rest
	return nil
}
