package database_test

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/database"
)

func TestReadHeader(t *testing.T) {
	away := errors.New("away")
	for name, test := range map[string]struct {
		text, want string
		then       error
	}{
		"a header":      {`-- {"a": "b"}` + "\nrest", "", nil},
		"a long one":    {`-- {"a": "` + strings.Repeat("b", 500) + `"}` + "\nrest", "", nil},
		"too long":      {`-- {"a": "` + strings.Repeat("b", 2000) + `"}` + "\nrest", "does not begin with a header", nil},
		"no mark":       {`{"a": "b"}` + "\n", "does not begin with a header", nil},
		"a short line":  {"-\n", "does not begin with a header", nil},
		"an empty copy": {"", "does not begin with a header", nil},
		"no JSON":       {"-- a\n", "not JSON", nil},
		"no end":        {`-- {"a": "b"}`, "does not begin with a header", nil},
		"an error":      {`-- {"a": `, "away", away},
	} {
		t.Run(name, func(t *testing.T) {
			var r io.Reader = strings.NewReader(test.text)
			if test.then != nil {
				r = io.MultiReader(r, failing{test.then})
			}
			in := bufio.NewReaderSize(r, 64)
			var header struct{ A string }
			err := database.ReadHeader(in, "-- ", 1000, &header)
			if test.want == "" {
				if rest, _ := io.ReadAll(in); err != nil || !strings.HasPrefix(header.A, "b") || string(rest) != "rest" {
					t.Errorf("%+v, then %q: %v", header, rest, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.want) || test.then != nil && !errors.Is(err, test.then) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
