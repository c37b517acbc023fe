package zone

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A change that a server has already is recognized in any form of its values.
func TestSame(t *testing.T) {
	for _, test := range []struct {
		name     string
		change   Change
		existing Set
		want     bool
	}{
		{"equal", Change{Key{"a.", "A"}, Set{60, []string{"192.0.2.1", "192.0.2.2"}}}, Set{60, []string{"192.0.2.2", "192.0.2.1"}}, true},
		{"another time to live", Change{Key{"a.", "A"}, Set{60, []string{"192.0.2.1"}}}, Set{61, []string{"192.0.2.1"}}, false},
		{"another value", Change{Key{"a.", "A"}, Set{60, []string{"192.0.2.1"}}}, Set{60, []string{"192.0.2.2"}}, false},
		{"an address in another form", Change{Key{"a.", "AAAA"}, Set{60, []string{"2001:db8::1"}}}, Set{60, []string{"2001:DB8:0::1"}}, true},
		{"text in other letters", Change{Key{"a.", "TXT"}, Set{60, []string{`"a"`}}}, Set{60, []string{`"A"`}}, false},
		{"removed", Change{Key{"a.", "A"}, Set{}}, Set{}, true},
		{"to be removed", Change{Key{"a.", "A"}, Set{}}, Set{60, []string{"192.0.2.1"}}, false},
		{"to be written", Change{Key{"a.", "A"}, Set{60, []string{"192.0.2.1"}}}, Set{}, false},
	} {
		if got := test.change.Same(test.existing); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}

// Removals go first, and values that applications added stay.
func TestChanges(t *testing.T) {
	prev := Sets{{"www.", "A"}: {60, []string{"192.0.2.1"}}, {"goes.", "A"}: {60, []string{"192.0.2.2"}}}
	next := Sets{{"www.", "A"}: {60, []string{"192.0.2.3"}}, {"new.", "CNAME"}: {60, []string{"a."}}}
	existing := Sets{{"www.", "A"}: {60, []string{"192.0.2.1", "192.0.2.9"}}, {"goes.", "A"}: {60, []string{"192.0.2.2"}}, {"app.", "A"}: {60, []string{"192.0.2.8"}}}
	want := []Change{
		{Key{"goes.", "A"}, Set{TTL: 60}},
		{Key{"new.", "CNAME"}, Set{60, []string{"a."}}},
		{Key{"www.", "A"}, Set{60, []string{"192.0.2.9", "192.0.2.3"}}},
	}
	got := Changes(prev, next, existing)
	for i := range got {
		if len(got[i].Values) == 0 {
			got[i].Values = nil
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"Shop.Example.COM": "shop.example.com.", "a.": "a.", ".": ".", "_sip._tcp.a": "_sip._tcp.a.",
		"": "", "a..b": "", "-a.b": "", "a b": "", "*.a": "", "ä.b": "", strings.Repeat("a", 64) + ".b": "", strings.Repeat("a.", 127) + "a": "",
	} {
		if got, ok := HostName(name); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %t", name, got, ok)
		}
	}
	for address, want := range map[string]bool{"dns@example.net": true, "a.b@example.net": false, "dns": false, "dns@": false, "@a.b": false} {
		if got := IsMail(address); got != want {
			t.Errorf("%q: %t", address, got)
		}
	}
}
