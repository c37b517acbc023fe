package loggable_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/loggable"
)

func TestText(t *testing.T) {
	for _, test := range []struct{ name, description, parameters, want string }{
		{"nothing quoted", "parameters.role: must be read_only", `{"role": 1}`, "parameters.role: must be read_only"},
		{"a text", `this plan has no "Hunter2"`, `{"a": "Hunter2"}`, `this plan has no "[...]"`},
		{"in other letters", "no zone hunter2.example.com", `{"a": ["HUNTER2.example.com"]}`, "no zone [...]"},
		{"a word of a text", "mail.hunter2: not a name", `{"a": {"b": "10 mail.hunter2"}}`, "[...]: not a name"},
		{"with a quote", fmt.Sprintf("not %q", `hun"ter2`), `{"a": "hun\"ter2"}`, `not "[...]"`},
		{"a number", "471112 is too much; 40 at most", `{"a": 471112, "b": 4}`, "[...] is too much; 40 at most"},
		{"a short text", `a name must not be "a"`, `{"x": "a"}`, `[...] name must not be "[...]"`},
		{"twice", "hunter2 and hunter2x", `{"x": "hunter2"}`, "[...] and [...]x"},
		{"keys stay", "parameters.colour: fixed", `{"colour": "hunter2"}`, "parameters.colour: fixed"},
		{"no parameters", "is required", ``, "is required"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := loggable.Text(test.description, json.RawMessage(test.parameters)); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestTextIsShort(t *testing.T) {
	if got := loggable.Text(strings.Repeat("é", 5000)); len(got) > 1010 {
		t.Errorf("%d bytes", len(got))
	}
}
