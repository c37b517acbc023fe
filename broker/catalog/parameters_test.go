package catalog_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

func TestCheckCreate(t *testing.T) {
	tests := []struct{ name, params, want string }{
		{"fits", `{"name": "abc", "size": 4, "ratio": 0.25, "words": ["ab"]}`, ""},
		{"null where null is allowed", `{"name": "abc", "network": {"host": "10.0.0.1", "port": null}}`, ""},
		{"none", ``, "parameters.name: is required"},
		{"null", `null`, "parameters.name: is required"},
		{"not an object", `[1]`, "parameters: must be an object, not an array"},
		{"not JSON", `{"name":`, "parameters: not valid JSON"},
		{"more than one value", `{"name": "abc"} {}`, "parameters: there is more than one JSON value"},
		{"wrong type", `{"name": 7}`, "parameters.name: must be a string, not a number"},
		{"wrong type with a choice", `{"name": "abc", "network": {"host": "10.0.0.1", "port": "x"}}`,
			"parameters.network.port: must be null or an integer, not a string"},
		{"fraction", `{"name": "abc", "size": 2.5}`, "parameters.size: must be an integer, without a fraction"},
		{"unknown", `{"name": "abc", "nmae": "x"}`,
			"parameters.nmae: no such parameter; this plan knows all, clone_of, empty, form, free, name, network, only, pair, ratio, restore_from, " +
				"restore_from_latest_snapshot_before, restore_from_latest_snapshot_of, size and words"},
		{"unknown below", `{"name": "abc", "network": {"hots": "x"}}`,
			"parameters.network.hots: no such parameter; this plan knows host, port and tls"},
		{"unknown where there is nothing", `{"name": "abc", "empty": {"x": 1}}`,
			"parameters.empty.x: no such parameter; this plan takes none here"},
		{"a hostile key", `{"name": "abc", "network": {"a.b\n\"c": 1}}`,
			`parameters.network["a.b\n\"c"]: no such parameter; this plan knows host, port and tls`},
		{"too short", `{"name": "a"}`, "parameters.name: must have at least 2 character(s)"},
		{"too long", `{"name": "abcdef"}`, "parameters.name: must have at most 5 character(s)"},
		{"pattern", `{"name": "ABC"}`, "parameters.name: must match the regular expression ^[a-z]+$"},
		{"too small", `{"name": "abc", "size": 0}`, "parameters.size: must be at least 1"},
		{"too large", `{"name": "abc", "size": 66}`, "parameters.size: must be at most 64"},
		{"on the lower bound", `{"name": "abc", "ratio": 0}`, "parameters.ratio: must be greater than 0"},
		{"on the upper bound", `{"name": "abc", "ratio": 0.5}`, "parameters.ratio: must be less than 0.5"},
		{"multiple", `{"name": "abc", "size": 3}`, "parameters.size: must be a multiple of 2"},
		{"too few items", `{"name": "abc", "words": []}`, "parameters.words: must have at least 1 item(s)"},
		{"too many items", `{"name": "abc", "words": ["ab", "bc", "cd", "de"]}`, "parameters.words: must have at most 3 item(s)"},
		{"equal items", `{"name": "abc", "words": ["ab", "ab"]}`, "parameters.words: items 0 and 1 are equal; each must be there once"},
		{"an item", `{"name": "abc", "words": ["ab", 1]}`, "parameters.words[1]: must be a string, not a number"},
		{"additional items", `{"name": "abc", "pair": ["a", "b", "c"]}`, "parameters.pair: has 1 item(s) too many"},
		{"too few members", `{"name": "abc", "network": {}}`, "parameters.network: must have at least 1 member(s)"},
		{"too many members", `{"name": "abc", "network": {"host": "10.0.0.1", "port": 1, "tls": true}}`,
			"parameters.network: must have at most 2 member(s)"},
		{"format", `{"name": "abc", "network": {"host": "localhost"}}`, "parameters.network.host: must have the format ipv4"},
		{"dependency", `{"name": "abc", "network": {"port": 1}}`, "parameters.network: host must be there too, because port is"},
		{"no alternative", `{"name": "abc", "form": "c"}`,
			`parameters.form: fits none of the allowed forms: (parameters.form: must be a boolean, not a string) or (parameters.form: must be one of "a", "b")`},
		{"both alternatives", `{"name": "abc", "only": "ab"}`, "parameters.only: fits more than one of the forms that exclude each other"},
		{"excluded", `{"name": "abc", "free": 1}`, "parameters.free: has a form that is excluded"},
		{"all of", `{"name": "abc", "all": "ab"}`, "parameters.all: must have at most 1 character(s)"},
		{"several", `{"size": 66, "extra": 1, "network": {"host": 1}}`,
			"parameters.extra: no such parameter; this plan knows all, clone_of, empty, form, free, name, network, only, pair, ratio, restore_from, " +
				"restore_from_latest_snapshot_before, restore_from_latest_snapshot_of, size and words; " +
				"parameters.name: is required; " +
				"parameters.network.host: must be a string, not a number; " +
				"parameters.size: must be at most 64"},
		{"a number without end", `{"name": "abc", "size": 1e999999999}`, "parameters.size: a number must be " + services.NumberForm + "; write others as text"},
		{"a number too small to tell", `{"name": "abc", "ratio": 1e-999999999}`, "parameters.ratio: a number must be " + services.NumberForm + "; write others as text"},
		{"a number of many digits", `{"name": "abc", "words": [1` + strings.Repeat("0", 200) + `]}`,
			"parameters.words[0]: a number must be " + services.NumberForm + "; write others as text"},
	}
	p, _ := good(t).Plan("s1", "p1")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, text(p.CheckCreate(json.RawMessage(test.params)))); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestCheckOtherVerbs(t *testing.T) {
	c := good(t)
	p, _ := c.Plan("s1", "p1")
	plain, _ := c.Plan("s1", "p2")
	const none = "parameters.size: no such parameter; this plan takes none here"
	tests := []struct {
		name   string
		check  func(json.RawMessage) error
		params string
		want   string
	}{
		{"bind", p.CheckBind, `{"role": "read_only"}`, ""},
		{"bind without", p.CheckBind, ``, ""},
		{"bind wrong", p.CheckBind, `{"role": "admin"}`, `parameters.role: must be one of "read_write", "read_only"`},
		{"bind unknown", p.CheckBind, `{"rolle": "read_only"}`, `parameters.rolle: no such parameter; this plan knows role`},
		{"update without a schema", p.CheckUpdate, `{"size": 2}`, "parameters.size: no such parameter; this plan knows backup"},
		{"backup", p.CheckUpdate, `{"backup": {"name": "before-migration"}}`, ""},
		{"backup without a name", p.CheckUpdate, `{"backup": {}}`, "parameters.backup.name: is required"},
		{"restore without an instance", p.CheckCreate, `{"name": "abc", "restore_from": {}}`, "parameters.restore_from.instance: is required"},
		{"restore", p.CheckCreate, `{"name": "abc", "restore_from": {"instance": "i", "before": "2026-03-01T12:00:00Z"}}`, ""},
		{"restore without backups", plain.CheckCreate, `{"clone_of": "i"}`, "parameters.clone_of: no such parameter; this plan takes none here"},
		{"update without parameters", p.CheckUpdate, `{}`, ""},
		{"update with nonsense", p.CheckUpdate, `7`, "parameters: must be an object, not a number"},
		{"create without a schema", plain.CheckCreate, `{"size": 1}`, none},
		{"create without parameters", plain.CheckCreate, `null`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, text(test.check(json.RawMessage(test.params)))); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestComplaintsAreShort(t *testing.T) {
	p, _ := good(t).Plan("s1", "p1")
	long := strings.Repeat("secret", 10_000)
	params := map[string]any{"name": long, long: long, "network": map[string]any{"host": long}, "form": long}
	for i := range 1000 {
		params[fmt.Sprintf("x%d", i)] = i
	}
	raw, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	got := text(p.CheckCreate(raw))
	if len(got) > 5000 || strings.Contains(got, long[:100]) || !strings.Contains(got, "; and ") {
		t.Errorf("the error has %d bytes: %.300s", len(got), got)
	}
}

// TestConcurrent is for the race detector: requests share one catalog.
func TestConcurrent(t *testing.T) {
	c := good(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				p, _ := c.Plan("s1", "p1")
				if p.CheckCreate([]byte(`{"name": "A", "form": 3}`)) == nil || p.CheckBind(nil) != nil {
					t.Error("the checks are wrong")
				}
				_ = c.PlansOf("fake")
				_ = p.Dashboard("x")
				_ = c.CheckState([]catalog.InUse{{ServiceID: "s1", PlanID: "x", Server: "default", Instances: 1}})
			}
		})
	}
	wg.Wait()
}
