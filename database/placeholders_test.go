package database

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestRewrite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect  Dialect
		in, want string
		args     []int
	}{
		{MySQL, "SELECT $1", "SELECT ?", []int{0}},
		{MySQL, "f($2, $1, $2)", "f(?, ?, ?)", []int{1, 0, 1}},
		{MySQL, "$10$2", "??", []int{9, 1}},
		{MySQL, `'$1' "$1" $1`, `'$1' "$1" ?`, []int{0}},
		{MySQL, `'it''s $1' $1`, `'it''s $1' ?`, []int{0}},
		{MySQL, `'\'$1' $1`, `'\'$1' ?`, []int{0}},
		{MySQL, `"\"$1" $1`, `"\"$1" ?`, []int{0}},
		{MySQL, "`a$1``b$1\\` $1", "`a$1``b$1\\` ?", []int{0}},
		{MySQL, "-- $1?\n$1", "-- $1?\n?", []int{0}},
		{MySQL, "5--$1", "5--?", []int{0}},
		{MySQL, "# $1?\n$1", "# $1?\n?", []int{0}},
		{MySQL, "/* $1? /* */ $1", "/* $1? /* */ ?", []int{0}},
		{MySQL, "$$a $1", "$$a ?", []int{0}},
		{MySQL, "a$1", "a$1", nil},
		{MySQL, "'open $1", "'open $1", nil},
		{Postgres, "SELECT $1", "SELECT $1", []int{0}},
		{Postgres, "f($3, $1, $3)", "f($1, $2, $1)", []int{2, 0}},
		{Postgres, `'$1\' $1`, `'$1\' $1`, []int{0}},
		{Postgres, `E'\'$2' $2`, `E'\'$2' $1`, []int{1}},
		{Postgres, `"$2""$2" $2`, `"$2""$2" $1`, []int{1}},
		{Postgres, "$$ $2 $$ $2", "$$ $2 $$ $1", []int{1}},
		{Postgres, "$a$ $2 $$ $b$ $a$ $2", "$a$ $2 $$ $b$ $a$ $1", []int{1}},
		{Postgres, "$2::text", "$1::text", []int{1}},
		{Postgres, "data ? 'a' AND $2", "data ? 'a' AND $1", []int{1}},
		{Postgres, "a$2 _$2 ä$2 $2", "a$2 _$2 ä$2 $1", []int{1}},
		{Postgres, "/* $2 /* */ $2 */ $2", "/* $2 /* */ $2 */ $1", []int{1}},
		{Postgres, "-- $2\n$2", "-- $2\n$1", []int{1}},
		{Postgres, "5--$2\n$2", "5--$2\n$1", []int{1}},
		{Postgres, "$x $2", "$x $1", []int{1}},
		{Postgres, "$", "$", nil},
		{Postgres, "", "", nil},
	} {
		s, err := rewrite(c.dialect, c.in)
		if err != nil || s.text != c.want || !slices.Equal(s.args, c.args) {
			t.Errorf("%s %s: got %+v, %v, want %s %v", c.dialect, c.in, s, err, c.want, c.args)
		}
	}
	for _, c := range []struct {
		dialect Dialect
		in      string
		want    string
	}{
		{MySQL, "a = ?", "question marks"},
		{MySQL, "a = $0", "$0"},
		{Postgres, "a = $0", "$0"},
		{Postgres, "a = $65536", "$65536"},
		{Postgres, "a = $99999999999999999999", "$99999999999999999999"},
	} {
		if _, err := rewrite(c.dialect, c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v", c.dialect, c.in, err)
		}
	}
}

func TestArgumentsOfStatement(t *testing.T) {
	t.Parallel()
	s, err := rewrite(Postgres, "$3 $1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.arguments([]any{"a", int(7), "c", "d"}); err != nil || !slices.Equal(got, []any{"c", "a"}) {
		t.Errorf("unused arguments are left out: %v, %v", got, err)
	}
	if _, err := s.arguments([]any{"a", "b"}); err == nil || !strings.Contains(err.Error(), "$3") {
		t.Errorf("too few: %v", err)
	}
	if _, err := s.arguments([]any{7, "b", "c"}); err == nil || !strings.Contains(err.Error(), "$1 is a int") {
		t.Errorf("of a type that is not promised: %v", err)
	}
}

// TestRewriterIsBounded: texts that are made up all the time must not fill the memory.
func TestRewriterIsBounded(t *testing.T) {
	t.Parallel()
	r := rewriter{dialect: MySQL}
	for i := range 3 * maxRewritten {
		if _, err := r.rewrite(fmt.Sprintf("SELECT $1 -- %d", i)); err != nil {
			t.Fatal(err)
		}
		if len(r.done) > maxRewritten {
			t.Fatalf("%d texts are kept", len(r.done))
		}
	}
	a, _ := r.rewrite("x")
	if b, _ := r.rewrite("x"); a != b {
		t.Error("a text is not remembered")
	}
}

// FuzzRewrite: whatever the text is, only placeholders change. That the lexer agrees with the servers is
// TestLexerAgreesWithServer's.
func FuzzRewrite(f *testing.F) {
	for _, text := range []string{
		"SELECT $1", `E'\'$1' "x" $$ $1 $$ $a$ $1 $a$`, "/* /* */ $2 */ -- $1\n # $1\n $1", "'$1", "`$1`", `"\"$1`, "$", "$1$2$3", "a$1", "--", "/*", "5--$1",
	} {
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Fuzz(func(t *testing.T, text string, postgres bool) {
		dialect := MySQL
		if postgres {
			dialect = Postgres
		}
		s, err := rewrite(dialect, text)
		if err != nil {
			return
		}
		for _, a := range s.args {
			if a < 0 || !strings.Contains(text, fmt.Sprintf("$%d", a+1)) && !strings.Contains(text, "$0") {
				t.Fatalf("%q: argument %d from nowhere", text, a)
			}
		}
		if len(s.args) == 0 && s.text != text {
			t.Fatalf("%q became %q without a placeholder", text, s.text)
		}
		again, err := rewrite(dialect, s.text)
		if dialect == Postgres && (err != nil || again.text != s.text || len(again.args) != len(s.args)) {
			t.Fatalf("%q became %q became %+v, %v", text, s.text, again, err)
		}
		if dialect == MySQL && len(s.args) > 0 && err == nil {
			t.Fatalf("%q became %q, which has no question mark that counts", text, s.text)
		}
	})
}
