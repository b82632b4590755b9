package appsession_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"gatehouse/session/appsession"
)

var userID = []string{"user_id"}

func TestJSONUser(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		data, path, want string
		err              error
	}{
		{`{"user_id":9007199254740993}`, "user_id", "9007199254740993", nil},
		{`{"user_id":-3}`, "user_id", "-3", nil},
		{`{"user_id":0}`, "user_id", "0", nil},
		{`{"user_id":"007"}`, "user_id", "007", nil},
		{`{"a":[{"b":"x"},{"b":"y"}]}`, "a.1.b", "y", nil},
		{`{"a":{"0":"x"}}`, "a.0", "x", nil},
		{`{}`, "user_id", "", nil},
		{`{"USER_ID":1}`, "user_id", "", nil},
		{`{"user_id":null}`, "user_id", "", nil},
		{`{"user_id":false}`, "user_id", "", nil},
		{`{"user_id":""}`, "user_id", "", nil},
		{`{"a":null}`, "a.b", "", nil},
		{`{"a":false}`, "a.b", "", nil},
		{`{"a":["x"]}`, "a.1", "", nil},
		{`{"a":["x"]}`, "a.-1", "", nil},
		{`{"a":["x"]}`, "a.00", "", nil},
		{`{"a":["x"]}`, "a.b", "", nil},
		{`{"a":"text"}`, "a.b", "", appsession.ErrUser},
		{`{"user_id":true}`, "user_id", "", appsession.ErrUser},
		{`{"user_id":1.0}`, "user_id", "", appsession.ErrUser},
		{`{"user_id":1e3}`, "user_id", "", appsession.ErrUser},
		{`{"user_id":-0}`, "user_id", "", appsession.ErrUser},
		{`{"user_id":{}}`, "user_id", "", appsession.ErrUser},
		{`{"user_id":[1]}`, "user_id", "", appsession.ErrUser},
		{`{"user_id":" x"}`, "user_id", "", appsession.ErrUser},
		{`{"user_id":"x\u0000"}`, "user_id", "", appsession.ErrUser},
		{`{"user_id":"\ud800"}`, "user_id", "", appsession.ErrUser},
		{`{"user_id":"` + strings.Repeat("x", 257) + `"}`, "user_id", "", appsession.ErrUser},
		{`{"user_id":` + strings.Repeat("1", 257) + `}`, "user_id", "", appsession.ErrUser},
		{`{"user_id":1,"user_id":2}`, "user_id", "", appsession.ErrMalformed},
		{`{"user_id":1,"x":{"a":1,"a":1}}`, "user_id", "", appsession.ErrMalformed},
		{`{"user_id":1}{}`, "user_id", "", appsession.ErrMalformed},
		{`{"user_id":NaN}`, "user_id", "", appsession.ErrMalformed},
		{`[1]`, "0", "", appsession.ErrMalformed},
		{`null`, "user_id", "", appsession.ErrMalformed},
		{``, "user_id", "", appsession.ErrMalformed},
		{"{\"user_id\":\"\xff\"}", "user_id", "", appsession.ErrMalformed},
		{`{"user_id":1,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "user_id", "", appsession.ErrMalformed},
	} {
		got, err := appsession.JSONUser([]byte(c.data), strings.Split(c.path, "."))
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%.60s at %s: %q, %v", c.data, c.path, got, err)
		}
	}
	if _, err := appsession.JSONUser([]byte(`{}`), nil); err == nil {
		t.Error("an empty path is taken")
	}
}

func TestRailsUser(t *testing.T) {
	t.Parallel()
	const user = `"` + "\x0cuser_idi\x2f" // "user_id", 42, as a pair of a hash
	for name, c := range map[string]struct {
		data, want string
		err        error
	}{
		"good":                           {"\x04\x08{\x06" + user, "42", nil},
		"empty":                          {"", "", nil},
		"a line end":                     {"\n", "", nil},
		"base64, a line a word":          {"BAh7\nBiIM\r\ndXNlcl9p\nZGkv\n", "42", nil},
		"base64 of something else":       {"aGVsbG8=", "", appsession.ErrMalformed},
		"no base64":                      {"BAh7*", "", appsession.ErrMalformed},
		"a newer version":                {"\x04\x09{\x06" + user, "", appsession.ErrMalformed},
		"nothing":                        {"\x04\x08", "", appsession.ErrMalformed},
		"something behind":               {"\x04\x08{\x06" + user + "0", "", appsession.ErrMalformed},
		"cut off":                        {"\x04\x08{\x07" + user, "", appsession.ErrMalformed},
		"a promise of much":              {"\x04\x08[\x04\xff\xff\xff\x7f", "", appsession.ErrMalformed},
		"a long text promised":           {"\x04\x08\"\x04\xff\xff\xff\x7fx", "", appsession.ErrMalformed},
		"a large number promised":        {"\x04\x08l+\x04\xff\xff\xff\x7fx", "", appsession.ErrMalformed},
		"a negative length":              {"\x04\x08\"\xfa", "", appsession.ErrMalformed},
		"a large number without sign":    {"\x04\x08{\x06" + "\"\x0cuser_idl*\x06\x01\x00", "", appsession.ErrMalformed},
		"a link to nothing":              {"\x04\x08{\x06\"\x0cuser_id@\x0a", "", appsession.ErrMalformed},
		"a link backwards":               {"\x04\x08{\x06\"\x0cuser_id@\xfa", "", appsession.ErrMalformed},
		"a symbol that was not there":    {"\x04\x08{\x06;\x06i\x2f", "", appsession.ErrMalformed},
		"a name that is no symbol":       {"\x04\x08o\"\x06A\x00", "", appsession.ErrMalformed},
		"a name of names":                {"\x04\x08" + strings.Repeat("oI:\x06A\x06", 200), "", appsession.ErrMalformed},
		"an unknown kind":                {"\x04\x08{\x06\"\x0cuser_id?", "", appsession.ErrMalformed},
		"the ID is the session":          {"\x04\x08{\x06\"\x0cuser_id@\x00", "", appsession.ErrUser},
		"a module, a class of Ruby 1.6":  {"\x04\x08{\x07i\x06M\x06A" + user, "42", nil},
		"data of C":                      {"\x04\x08{\x07i\x06d:\x06Ai\x06" + user, "42", nil},
		"deep lists":                     {"\x04\x08" + strings.Repeat("[\x06", 100) + "0", "", appsession.ErrMalformed},
		"deep variables":                 {"\x04\x08" + strings.Repeat("I", 100) + "0", "", appsession.ErrMalformed},
		"deep subclasses":                {"\x04\x08" + strings.Repeat("C:\x06A", 100) + "0", "", appsession.ErrMalformed},
		"JSON that is cut off":           {`{"user_id":`, "", appsession.ErrMalformed},
		"JSON, a name twice":             {`{"user_id":1,"user_id":1}`, "", appsession.ErrMalformed},
		"a session of the cookie's kind": {"BAh7BiIMdXNlcl9pZGkv--0123456789abcdef", "", appsession.ErrMalformed},
	} {
		if got, err := appsession.RailsUser([]byte(c.data), userID); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := appsession.DeviseSession([]byte("?"), "user"); !errors.Is(err, appsession.ErrMalformed) {
		t.Error(err)
	}
	for data, want := range map[string]appsession.DeviseIdentity{
		`{}`: {}, `{"warden.user.admin.key":[[7],"salt"]}`: {UserID: "7", Salt: "salt"}, `{"warden.user.admin.key":[[7]]}`: {UserID: "7"},
		`{"warden.user.admin.key":null}`: {}, `{"warden.user.user.key":[[7],"salt"]}`: {},
	} {
		id, err := appsession.DeviseSession([]byte(data), "admin")
		if err != nil || id != want {
			t.Errorf("%s: %+v, %v", data, id, err)
		}
		if id.MatchesPassword("") || id.MatchesPassword(id.Salt) || id.MatchesPassword(strings.Repeat("x", 60)) {
			t.Errorf("%s: matches with any password", data)
		}
	}
	for _, data := range []string{`{"warden.user.admin.key":[7,"salt"]}`, `{"warden.user.admin.key":[[7],{}]}`} {
		if id, err := appsession.DeviseSession([]byte(data), "admin"); !errors.Is(err, appsession.ErrUser) || id.UserID != "" {
			t.Errorf("%s: %+v, %v", data, id, err)
		}
	}
}

func TestRailsPrivateID(t *testing.T) {
	t.Parallel()
	if id := appsession.RailsPrivateID("x"); !appsession.IsRailsPrivateID(id) || !strings.HasPrefix(id, "2::") || len(id) != 67 {
		t.Error(id)
	}
	for token, want := range map[string]bool{"2::x": true, "1::": true, "12::x": true, "2:x": false, "::x": false, "x2::x": false, "d41d8cd98f00b204": false} {
		if appsession.IsRailsPrivateID(token) != want {
			t.Error(token)
		}
	}
}

func TestPHPUser(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data, want string
		err        error
	}{
		"php":                          {`user_id|i:42;`, "42", nil},
		"php_serialize":                {`a:1:{s:7:"user_id";i:42;}`, "42", nil},
		"empty":                        {``, "", nil},
		"a length that lies":           {`user_id|s:2:"abc";`, "", appsession.ErrMalformed},
		"a length beyond the end":      {`user_id|s:99:"abc";`, "", appsession.ErrMalformed},
		"a length below zero":          {`user_id|s:-1:"";`, "", appsession.ErrMalformed},
		"a length written twice":       {`user_id|s:01:"a";`, "", appsession.ErrMalformed},
		"a length of many digits":      {`user_id|s:` + strings.Repeat("1", 100) + `:"a";`, "", appsession.ErrMalformed},
		"a promise of much":            {`a:999999999:{}`, "", appsession.ErrMalformed},
		"a count that lies":            {`a:2:{s:7:"user_id";i:42;}`, "", appsession.ErrMalformed},
		"another number for the same":  {`user_id|i:042;`, "", appsession.ErrMalformed},
		"a number with a sign":         {`user_id|i:+42;`, "", appsession.ErrMalformed},
		"a number that is none":        {`user_id|i:;`, "", appsession.ErrMalformed},
		"a truth that is none":         {`user_id|b:2;`, "", appsession.ErrMalformed},
		"a fraction without end":       {`user_id|d:1.5`, "", appsession.ErrMalformed},
		"a name without a value":       {`user_id|`, "", appsession.ErrMalformed},
		"no name":                      {`user_id`, "", appsession.ErrMalformed},
		"a name twice":                 {`user_id|i:1;user_id|i:2;`, "", appsession.ErrMalformed},
		"a key twice":                  {`a:2:{s:7:"user_id";i:1;s:7:"user_id";i:2;}`, "", appsession.ErrMalformed},
		"a key twice, as text":         {`x|a:2:{i:1;i:1;s:1:"1";i:2;}`, "", appsession.ErrMalformed},
		"a key that is an array":       {`x|a:1:{a:0:{}i:1;}`, "", appsession.ErrMalformed},
		"a key that is null":           {`x|a:1:{N;i:1;}`, "", appsession.ErrMalformed},
		"something behind":             {`a:0:{}i:1;`, "", appsession.ErrMalformed},
		"an unknown kind":              {`x|Z:1;`, "", appsession.ErrMalformed},
		"escaped text":                 {`user_id|S:1:"a";`, "", appsession.ErrMalformed},
		"null with a value":            {`user_id|N:1;`, "", appsession.ErrMalformed},
		"an object without properties": {`x|O:1:"A":user_id|i:1;`, "", appsession.ErrMalformed},
		"an object's own bytes":        {`x|C:1:"A":3:{i:1}user_id|i:42;`, "42", nil},
		"its own bytes, cut off":       {`x|C:1:"A":9:{i:1}`, "", appsession.ErrMalformed},
		"a reference to the ID":        {`x|i:1;user_id|R:1;`, "", appsession.ErrUser},
		"deep":                         {`x|` + strings.Repeat(`a:1:{i:0;`, 100), "", appsession.ErrMalformed},
		"deep objects":                 {`x|` + strings.Repeat(`O:1:"A":1:{i:0;`, 100), "", appsession.ErrMalformed},
		"quotation marks in text":      {`x|s:3:"a";";user_id|i:42;`, "42", nil},
		"a class that would run code":  {`user_id|O:8:"Monolog\":0:{}`, "", appsession.ErrUser},
	} {
		if got, err := appsession.PHPUser(c.data, userID); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// readers call every reader of payloads.
var readers = map[string]func(data string, v vector) (string, error){
	"json":   func(data string, v vector) (string, error) { return appsession.JSONUser([]byte(data), v.Path) },
	"rails":  func(data string, v vector) (string, error) { return appsession.RailsUser([]byte(data), v.Path) },
	"php":    func(data string, v vector) (string, error) { return appsession.PHPUser(data, v.Path) },
	"django": func(data string, v vector) (string, error) { return appsession.DjangoUser(data, v.Secrets) },
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	v := vector{Path: userID, Secrets: []string{"x"}}
	for name, read := range readers {
		for _, begin := range []string{"{}", "\x04\x08{", "BAh7", "a:1:{", "x|s:", "e30:1:x"} {
			if _, err := read(begin+strings.Repeat(" ", appsession.MaxPayload-len(begin)+1), v); !errors.Is(err, appsession.ErrTooLarge) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := read(begin+strings.Repeat(" ", appsession.MaxPayload-len(begin)), v); errors.Is(err, appsession.ErrTooLarge) {
				t.Errorf("%s: just as much as may be: %v", name, err)
			}
		}
	}
}

// A payload that is cut off anywhere names nobody or the right one, never another, and errors tell
// nothing of it.
func TestCutOff(t *testing.T) {
	t.Parallel()
	for _, tool := range tools {
		for _, v := range committed(t, tool.folder) {
			read := readers[v.Kind]
			if read == nil || v.Error {
				continue
			}
			forms := []string{string(v.Data)}
			if raw, err := base64.StdEncoding.DecodeString(string(v.Data)); v.Kind == "rails" && err == nil {
				forms = append(forms, string(raw))
			}
			for _, data := range forms {
				for end := range len(data) {
					got, err := read(data[:end], v)
					if got != "" && (got != v.Want || err != nil) {
						t.Errorf("%s: %d of %d bytes: %q, %v", v.Name, end, len(data), got, err)
					}
					if err != nil && (!errors.Is(err, appsession.ErrMalformed) && !errors.Is(err, appsession.ErrSignature) || len(err.Error()) > 250) {
						t.Errorf("%s: %d of %d bytes: %v", v.Name, end, len(data), err)
					}
				}
			}
		}
	}
}

// FuzzPayload: no payload makes a reader panic, and what it takes for a user ID can be one.
func FuzzPayload(f *testing.F) {
	for _, tool := range tools {
		for _, v := range committed(f, tool.folder) {
			f.Add(v.Data, strings.Join(v.Path, "/"))
			if raw, err := base64.StdEncoding.DecodeString(string(v.Data)); err == nil {
				f.Add(raw, strings.Join(v.Path, "/"))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, path string) {
		v := vector{Path: strings.Split(path, "/"), Secrets: []string{"x"}}
		for name, read := range readers {
			id, err := read(string(data), v)
			switch {
			case err != nil && id != "", len(id) > 256, !utf8.ValidString(id), strings.TrimSpace(id) != id, strings.ContainsAny(id, "\x00\r\n\t"):
				t.Fatalf("%s: %q, %v", name, id, err)
			case name == "django" && err == nil:
				t.Fatal("took an unsigned payload")
			case name == "json" && err == nil && !json.Valid(data):
				t.Fatal("took what is no JSON")
			}
		}
	})
}
