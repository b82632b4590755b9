package login

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

const (
	// maxAccount bounds an account's length, in bytes; it is a key of the limiter.
	maxAccount = 512
	// maxAccounts bounds how many fields of one form may be accounts.
	maxAccounts = 16
)

// accountsOf lists what a login names as the account, for the limit per account. It is strict where
// lenient parsers differ: an account that the application sees and the gateway does not would be
// guessed at without limit (L03). Browsers never send what is refused here. The query counts as well,
// because Rails and servlets mix it with the body.
// fields are folded by foldField. Error: *RequestError.
func accountsOf(h http.Header, query string, body []byte, fields []string) ([]string, error) {
	f := accountFinder{fields: fields}
	if err := f.query(query); err != nil || len(body) == 0 {
		return f.accounts, err
	}
	types := h.Values("Content-Type")
	if len(types) != 1 || isEncoded(h) {
		return nil, &RequestError{http.StatusUnsupportedMediaType, "a login has one Content-Type and no Content-Encoding"}
	}
	for _, line := range h.Values("Connection") {
		// What Connection names is not sent on: the application would read the body as another type.
		if strings.Contains(strings.ToLower(line), "content-") {
			return nil, &RequestError{http.StatusBadRequest, "Connection names a header of the body"}
		}
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil || !asciiCharset(params["charset"]) || !plainParams(types[0], media, params) {
		return nil, &RequestError{http.StatusUnsupportedMediaType, "the form's Content-Type is not understood"}
	}
	switch {
	case media == "application/x-www-form-urlencoded":
		err = f.urlencoded(body)
	case media == "multipart/form-data":
		err = f.multipart(body, params["boundary"])
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		err = f.json(body)
	default:
		err = &RequestError{http.StatusUnsupportedMediaType, "a login is a form or JSON"}
	}
	return f.accounts, err
}

// query reads the target's query as generously as can be: it is passed on byte for byte, whatever
// it looks like (P11).
func (f *accountFinder) query(raw string) error {
	for _, pair := range strings.FieldsFunc(raw, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		name, value = decodeQuery(name), decodeQuery(value)
		if unreadable(name) {
			return errForm
		}
		if f.namedBy(name) {
			if err := f.add(value); err != nil {
				return err
			}
		}
	}
	return nil
}

func decodeQuery(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return s
}

type accountFinder struct {
	fields   []string
	seen     []string // folded names of the account fields so far
	accounts []string
}

var errForm = &RequestError{http.StatusBadRequest, "the form does not parse"}

func (f *accountFinder) urlencoded(body []byte) error {
	// Also refuses a raw semicolon, which some applications take for an ampersand.
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return errForm
	}
	for name, values := range form {
		for _, value := range values {
			if err := f.take(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *accountFinder) multipart(body []byte, boundary string) error {
	if boundary == "" {
		return errForm
	}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || part.FormName() == "" || part.Header.Get("Content-Transfer-Encoding") != "" || !plainPart(part.Header) {
			return errForm
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return errForm
		}
		if err := f.take(part.FormName(), string(value)); err != nil {
			return err
		}
	}
}

func (f *accountFinder) json(body []byte) error {
	object, err := parseObject(body)
	if err != nil {
		return &RequestError{http.StatusBadRequest, "the JSON does not parse, or a key stands twice in it"}
	}
	return f.walk(object, false, false)
}

// walk looks through JSON. account: v stands under an account's name, directly, in an array, under an operator
// ({"email": {"$eq": "bob"}}) or in an object ({"email": {"x": "bob"}}, see namedBy), all of which some application takes for
// the account.
func (f *accountFinder) walk(v any, account, inside bool) error {
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			folded := foldField(key)
			in := inside || f.neverAForm(folded)
			if err := f.walk(member, in || f.names(folded) || account && strings.HasPrefix(key, "$"), in); err != nil {
				return err
			}
		}
	case []any:
		for _, member := range v {
			if err := f.walk(member, account, inside); err != nil {
				return err
			}
		}
	default:
		if text, scalar := scalarText(v); scalar && account {
			return f.add(text)
		}
	}
	return nil
}

// plainParams refuses parameters that parsers read in different ways: name* (RFC 2231), and for
// multipart any but the two that browsers and libraries send.
func plainParams(line, media string, params map[string]string) bool {
	if strings.Contains(line, "*") {
		return false
	}
	for name := range params {
		if media == "multipart/form-data" && name != "boundary" && name != "charset" {
			return false
		}
	}
	return true
}

// plainPart refuses parts whose name is given twice or in RFC 2231's way, which some parsers prefer
// and others pass over.
func plainPart(h textproto.MIMEHeader) bool {
	lines := h["Content-Disposition"]
	return len(lines) == 1 && !strings.Contains(lines[0], "*") && strings.Count(strings.ToLower(lines[0]), "name=") <= 1+strings.Count(strings.ToLower(lines[0]), "filename=")
}

// take looks at one field of a form. An account field that stands twice is refused (L06): one of
// them would be checked against the limit and the other by the application.
func (f *accountFinder) take(name, value string) error {
	if unreadable(name) {
		return errForm
	}
	if !f.namedBy(name) {
		return nil
	}
	folded := foldField(name)
	if slices.Contains(f.seen, folded) {
		return &RequestError{http.StatusBadRequest, "a field stands twice in the form"}
	}
	f.seen = append(f.seen, folded)
	return f.add(value)
}

func (f *accountFinder) names(folded string) bool { return slices.Contains(f.fields, folded) }

func (f *accountFinder) add(account string) error {
	if account = fold(account); account == "" || slices.Contains(f.accounts, account) {
		return nil
	}
	if len(account) > maxAccount || len(f.accounts) >= maxAccounts {
		return &RequestError{http.StatusBadRequest, "the account is too long, or there are too many"}
	}
	f.accounts = append(f.accounts, account)
	return nil
}

// foldField makes names of fields equal that some application takes for the same: without regard to
// case (ASP.NET), without blanks in front and with dots, spaces and brackets as underscores (PHP), those at the end left out.
func foldField(name string) string {
	name = strings.TrimLeft(name, " \t")
	name = strings.Map(func(r rune) rune {
		switch r {
		case '.', ' ', '[', ']', '-', ':', '\t', '"', '\'':
			return '_'
		}
		return r
	}, strings.ToLower(name))
	return strings.TrimRight(name, "_")
}

// unreadable reports whether a field's name holds a character at which some application ends it: PHP
// takes "email\x00x" for email. No form has such a name.
func unreadable(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// namedBy reports whether a field's name is an account's, or the last part of a nested one (user[email], Input.Email, form:email), or
// what indices and operators stand behind (email[], email[0], email[$eq]). Of an array some applications take the first thing
// that is in it, whatever its key (Laravel's queries): so email[x] is email too. user[x] is not user, for
// forms are called user, and user[password] is no account.
func (f *accountFinder) namedBy(name string) bool {
	if f.names(foldField(name)) || f.names(lastPart(unindexed(name))) {
		return true
	}
	head, _, nested := strings.Cut(name, "[")
	return nested && f.neverAForm(foldField(head))
}

// neverAForm reports whether a folded name is an account's, and none that a form's other fields would be nested under.
func (f *accountFinder) neverAForm(folded string) bool {
	return f.names(folded) && (strings.Contains(folded, "mail") || strings.Contains(folded, "name"))
}

// unindexed cuts indices and operators off a nested name: email[0], email[] and email[$eq] are email.
func unindexed(name string) string {
	for strings.HasSuffix(name, "]") {
		open := strings.LastIndexByte(name, '[')
		if open < 0 {
			break
		}
		inside := name[open+1 : len(name)-1]
		if strings.Trim(inside, "0123456789 ") != "" && !strings.HasPrefix(inside, "$") {
			break
		}
		name = name[:open]
	}
	return name
}

// lastPart is the last name of a nested one, folded: user[email], Input.Email and form:email are email.
func lastPart(name string) string {
	name = strings.TrimRight(name, "[].: ")
	return foldField(name[strings.LastIndexAny(name, "[].:")+1:])
}

// asciiCharset refuses encodings in which an account's letters are other bytes (UTF-16, UTF-7, EBCDIC):
// each would be a fresh account to the limit, and the same one to an application that decodes it.
func asciiCharset(charset string) bool {
	charset = strings.ToLower(charset)
	for _, prefix := range []string{"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-", "windows-125", "koi8-", "euc-", "shift_jis", "gb", "big5"} {
		if strings.HasPrefix(charset, prefix) {
			return true
		}
	}
	return charset == ""
}
