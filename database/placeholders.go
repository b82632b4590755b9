package database

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// statement is a text as the server wants it, and which arguments it is given, in which order.
type statement struct {
	text string
	args []int // indexes into the arguments of the question
}

// arguments picks what the statement uses. Arguments it does not use are left out: statements come
// from the configuration, and not every application needs all that could be given to one.
func (s *statement) arguments(given []any) ([]any, error) {
	out := make([]any, len(s.args))
	for i, index := range s.args {
		if index >= len(given) {
			return nil, fmt.Errorf("the statement uses $%d, but there are only %d arguments", index+1, len(given))
		}
		if out[i] = given[index]; !isArgument(out[i]) {
			return nil, fmt.Errorf("argument $%d is a %T, not string, []byte, int64, bool, time.Time or nil", index+1, out[i])
		}
	}
	return out, nil
}

func isArgument(v any) bool {
	switch v.(type) {
	case nil, string, []byte, int64, bool, time.Time:
		return true
	}
	return false
}

// maxArgument bounds the number behind $. No server takes more.
const maxArgument = 65535

// rewrite finds the placeholders $1, $2, ... outside of quotes and comments. For MySQL each becomes
// a question mark, its argument repeated as needed; for PostgreSQL they are numbered anew without gaps,
// because it refuses a $3 without a $2.
func rewrite(dialect Dialect, text string) (*statement, error) {
	var out strings.Builder
	s := &statement{}
	numbers := map[int]int{} // PostgreSQL: index of the argument to its new number
	for i := 0; i < len(text); {
		if n := skip(dialect, text[i:]); n > 0 {
			out.WriteString(text[i : i+n])
			i += n
			continue
		}
		if text[i] == '?' && dialect == MySQL {
			return nil, fmt.Errorf("placeholders are $1, $2 and so on, not question marks")
		}
		digits := placeholder(text[i:])
		if digits == "" {
			out.WriteByte(text[i])
			i++
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > maxArgument {
			return nil, fmt.Errorf("there is no argument $%s", digits)
		}
		i += 1 + len(digits)
		if dialect == MySQL {
			out.WriteByte('?')
			s.args = append(s.args, n-1)
			continue
		}
		if numbers[n-1] == 0 {
			s.args = append(s.args, n-1)
			numbers[n-1] = len(s.args)
		}
		fmt.Fprintf(&out, "$%d", numbers[n-1])
	}
	s.text = out.String()
	return s, nil
}

// placeholder gives the digits of a placeholder at the beginning of the text, or "".
func placeholder(text string) string {
	if text[0] != '$' {
		return ""
	}
	end := 1
	for end < len(text) && isDigit(text[end]) {
		end++
	}
	return text[1:end]
}

// skip gives the length of what stands at the beginning of the text and holds no placeholders: something
// quoted, a comment or a word (in which $ is a letter like others). 0 for all else. What is not
// closed goes to the end: the server will say so.
func skip(dialect Dialect, text string) int {
	switch c := text[0]; {
	case c == '\'', c == '"' && dialect == MySQL:
		return quoted(text, 0, c, dialect == MySQL)
	case c == '"', c == '`' && dialect == MySQL:
		return quoted(text, 0, c, false)
	case (c == 'E' || c == 'e') && dialect == Postgres && strings.HasPrefix(text[1:], "'"):
		return quoted(text, 1, '\'', true)
	case c == '#' && dialect == MySQL:
		return lineEnd(text)
	case strings.HasPrefix(text, "--"):
		// In MySQL 5--1 is a subtraction.
		if dialect == Postgres || len(text) == 2 || text[2] <= ' ' {
			return lineEnd(text)
		}
	case strings.HasPrefix(text, "/*"):
		return blockComment(text, dialect == Postgres)
	case c == '$' && dialect == Postgres:
		return dollarQuoted(text)
	case isWord(c):
		end := 1
		for end < len(text) && (isWord(text[end]) || text[end] == '$') {
			end++
		}
		return end
	}
	return 0
}

// quoted gives the length up to the closing quote, which doubled, or behind a backslash where that counts,
// does not close.
func quoted(text string, start int, quote byte, backslash bool) int {
	for i := start + 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && backslash:
			i++
		case text[i] == quote:
			if i+1 < len(text) && text[i+1] == quote {
				i++
				continue
			}
			return i + 1
		}
	}
	return len(text)
}

func lineEnd(text string) int {
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		return i + 1
	}
	return len(text)
}

// blockComment: they nest in PostgreSQL only.
func blockComment(text string, nest bool) int {
	depth := 0
	for i := 0; i+1 < len(text); i++ {
		switch text[i : i+2] {
		case "/*":
			if depth == 0 || nest {
				depth++
			}
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// dollarQuoted: $$ ... $$ or $tag$ ... $tag$; 0 when it is none.
func dollarQuoted(text string) int {
	end := 1
	for end < len(text) && isWord(text[end]) {
		end++
	}
	if end == len(text) || text[end] != '$' || isDigit(text[1]) {
		return 0
	}
	tag := text[:end+1]
	if i := strings.Index(text[end+1:], tag); i >= 0 {
		return end + 1 + i + len(tag)
	}
	return len(text)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return isDigit(c) || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// maxRewritten bounds the memory for rewritten texts. There are as many statements as the configuration
// has, a few dozen; a caller that makes up new ones all the time only loses the gain.
const maxRewritten = 1000

// rewriter remembers what rewrite made.
type rewriter struct {
	dialect Dialect
	mu      sync.RWMutex
	done    map[string]*statement
}

func (r *rewriter) rewrite(text string) (*statement, error) {
	r.mu.RLock()
	s := r.done[text]
	r.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	s, err := rewrite(r.dialect, text)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil || len(r.done) >= maxRewritten {
		r.done = map[string]*statement{}
	}
	r.done[text] = s
	return s, nil
}
