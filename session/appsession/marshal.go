package appsession

import (
	"math/big"
	"slices"
	"strconv"
)

// maxBignum bounds Ruby's large integers, in bytes: writing one out in decimal takes quadratic time.
const maxBignum = 64

// parseMarshal reads what Ruby's Marshal 4.8 wrote: one value, a hash. Nothing is instantiated: objects
// of whatever class are read over, so that a flash message of a class nobody knows here does not keep its
// owner from staying logged in.
func parseMarshal(data string) (*table, error) {
	r := &marshalReader{data: data[len(marshalVersion):]}
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if r.data != "" {
		return nil, malformed("something follows what Ruby's Marshal wrote")
	}
	hash, ok := v.(*table)
	if !ok {
		return nil, malformed("Ruby's Marshal wrote something else than a hash")
	}
	return hash, nil
}

var errMarshal = malformed("it is cut off or not what Ruby's Marshal 4.8 writes")

// marshalReader keeps two tables that the format refers to by number: symbols, and every value but nil,
// true, false, small integers and symbols. What takes a number, and when, must be as in Ruby's marshal.c to
// the letter: one off, and a later link names another value, which might be another user.
type marshalReader struct {
	data    string
	symbols []string
	objects []any
}

func (r *marshalReader) value(depth int) (any, error) { return r.valueWith(nil, depth) }

// valueWith reads a value. variables is set when instance variables follow it ('I'); the types whose
// variables stand before the end of the value read them there and clear it.
func (r *marshalReader) valueWith(variables *bool, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	kind, err := r.byte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case '0':
		return nil, nil
	case 'T', 'F':
		return kind == 'T', nil
	case 'i':
		n, err := r.long()
		return integer(strconv.Itoa(n)), err
	case ':':
		return r.newSymbol()
	case ';':
		return r.oldSymbol()
	case '@':
		return r.link()
	case 'I':
		return r.withVariables(depth)
	case 'C', 'e': // of a subclass, or extended by a module: its name, then the value
		if _, err := r.symbol(depth); err != nil {
			return nil, err
		}
		return r.value(depth + 1)
	case '"':
		text, err := r.bytes()
		r.remember(text)
		return text, err
	case '[':
		return r.array(depth)
	case '{', '}':
		return r.hash(kind == '}', depth)
	case 'f', 'c', 'm', 'M':
		_, err := r.bytes()
		return r.remember(otherRuby(kind)), err
	case 'l':
		return r.bignum()
	}
	return r.object(kind, variables, depth)
}

func otherRuby(kind byte) other {
	if kind == 'f' {
		return "a number with a fraction"
	}
	return "a Ruby object"
}

// object reads over a value of some class.
func (r *marshalReader) object(kind byte, variables *bool, depth int) (any, error) {
	v := otherRuby(kind)
	switch kind {
	case 'o', 'S': // name, then pairs of names and values
		r.remember(v)
		if _, err := r.symbol(depth); err != nil {
			return nil, err
		}
		_, err := r.variables(depth)
		return v, err
	case 'U', 'd': // marshal_dump: name, then the value it gave
		if _, err := r.symbol(depth); err != nil {
			return nil, err
		}
		r.remember(v)
		_, err := r.value(depth + 1)
		return v, err
	case 'u', '/': // _dump: name, bytes; a regular expression: bytes, options
		if err := r.dumped(kind, variables, depth); err != nil {
			return nil, err
		}
		return v, nil
	}
	return nil, errMarshal
}

func (r *marshalReader) dumped(kind byte, variables *bool, depth int) error {
	if kind == 'u' {
		if _, err := r.symbol(depth); err != nil {
			return err
		}
	}
	if _, err := r.bytes(); err != nil {
		return err
	}
	if kind == '/' {
		if _, err := r.byte(); err != nil {
			return err
		}
		r.remember(otherRuby(kind))
	}
	if variables != nil && *variables {
		*variables = false
		if _, err := r.variables(depth); err != nil {
			return err
		}
	}
	if kind == 'u' { // it takes its number only now, after its variables
		r.remember(otherRuby(kind))
	}
	return nil
}

// withVariables reads a value and its instance variables. Those of a string tell its encoding: E for
// UTF-8 and ASCII, encoding for others, whose bytes are no text here.
func (r *marshalReader) withVariables(depth int) (any, error) {
	number, pending := len(r.objects), true
	v, err := r.valueWith(&pending, depth+1)
	if err != nil || !pending {
		return v, err
	}
	names, err := r.variables(depth)
	if _, isText := v.(string); isText && slices.Contains(names, "encoding") {
		v = other("text that is not UTF-8")
		if number < len(r.objects) { // a symbol has no number
			r.objects[number] = v
		}
	}
	return v, err
}

// variables reads pairs of names and values, and gives the names.
func (r *marshalReader) variables(depth int) (names []string, err error) {
	n, err := r.count(2)
	for i := 0; i < n && err == nil; i++ {
		var name string
		if name, err = r.symbol(depth); err != nil {
			break
		}
		names = append(names, name)
		_, err = r.value(depth + 1)
	}
	return names, err
}

func (r *marshalReader) array(depth int) (any, error) {
	l := &list{}
	r.remember(l)
	n, err := r.count(1)
	for i := 0; i < n && err == nil; i++ {
		var v any
		v, err = r.value(depth + 1)
		l.items = append(l.items, v)
	}
	return l, err
}

// hash reads pairs, and the default behind them. Names that are neither text nor whole numbers cannot be
// in a path and are left out; one that stands there twice, as "id" and :id, is ambiguous.
func (r *marshalReader) hash(hasDefault bool, depth int) (any, error) {
	t := &table{}
	r.remember(t)
	n, err := r.count(2)
	for i := 0; i < n && err == nil; i++ {
		var key, v any
		if key, err = r.value(depth + 1); err != nil {
			break
		}
		v, err = r.value(depth + 1)
		if name, ok := marshalName(key); ok && !t.add(name, v) {
			t.members[name] = other("there twice, as a string and as a symbol")
		}
	}
	if hasDefault && err == nil {
		_, err = r.value(depth + 1)
	}
	return t, err
}

func marshalName(key any) (string, bool) {
	switch key := key.(type) {
	case string:
		return key, true
	case integer:
		return string(key), true
	}
	return "", false
}

func (r *marshalReader) bignum() (any, error) {
	sign, err := r.byte()
	if err != nil || sign != '+' && sign != '-' {
		return nil, errMarshal
	}
	shorts, err := r.count(2)
	if err != nil {
		return nil, err
	}
	digits := []byte(r.data[:2*shorts])
	r.data = r.data[2*shorts:]
	if len(digits) > maxBignum {
		return r.remember(other("a number of too many digits")), nil
	}
	slices.Reverse(digits) // the lowest comes first
	n := new(big.Int).SetBytes(digits)
	if sign == '-' {
		n.Neg(n)
	}
	return r.remember(integer(n.String())), nil
}

// remember gives a value the next number.
func (r *marshalReader) remember(v any) any {
	r.objects = append(r.objects, v)
	return v
}

func (r *marshalReader) link() (any, error) {
	n, err := r.long()
	if err != nil || n < 0 || n >= len(r.objects) {
		return nil, errMarshal
	}
	return r.objects[n], nil
}

// symbol reads a symbol where nothing else may stand.
func (r *marshalReader) symbol(depth int) (string, error) {
	kind, err := r.byte()
	switch {
	case err != nil:
		return "", err
	case kind == ':':
		return r.newSymbol()
	case kind == ';':
		return r.oldSymbol()
	case kind == 'I': // a symbol with an encoding
		if kind, err = r.byte(); err != nil || kind != ':' || depth > maxDepth {
			return "", errMarshal
		}
		name, err := r.newSymbol()
		if err != nil {
			return "", err
		}
		_, err = r.variables(depth + 1)
		return name, err
	}
	return "", errMarshal
}

func (r *marshalReader) newSymbol() (string, error) {
	name, err := r.bytes()
	r.symbols = append(r.symbols, name)
	return name, err
}

func (r *marshalReader) oldSymbol() (string, error) {
	n, err := r.long()
	if err != nil || n < 0 || n >= len(r.symbols) {
		return "", errMarshal
	}
	return r.symbols[n], nil
}
