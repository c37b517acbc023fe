package rig

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler/services/all"
)

func expectIn(t *testing.T, text []byte, wanted, cut []string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(string(text), w) {
			t.Errorf("%q is missing", w)
		}
	}
	for _, c := range cut {
		if strings.Contains(string(text), c) {
			t.Errorf("%q is still there", c)
		}
	}
}

func TestShippedCatalog(t *testing.T) {
	text, err := ShippedCatalog("postgres")
	if err != nil {
		t.Fatal(err)
	}
	expectIn(t, text, []string{"postgres-small", "postgres-medium", "# "}, []string{"type: database/mysql", "nats-small", "name: dns"})
	if text, err = ShippedCatalog("nats", "powerdns"); err != nil {
		t.Fatal(err)
	}
	expectIn(t, text, []string{"nats-small", "name: dns", "name: zone"}, []string{"rabbitmq-small", "name: database"})
	if text, err = ShippedCatalog(CloudBackends()...); err != nil {
		t.Fatal(err)
	}
	expectIn(t, text, []string{"endpoint: ${DESIGNATE_ENDPOINT}", "endpoint: ${RGW_ENDPOINT}", "trove-mysql-medium"}, []string{"nats-small"})
}

func TestWithSecondPlan(t *testing.T) {
	shipped, err := ShippedCatalog("nats")
	if err != nil {
		t.Fatal(err)
	}
	text, err := WithSecondPlan(shipped, "nats", map[string]any{"streams": 12345})
	if err != nil {
		t.Fatal(err)
	}
	expectIn(t, text, []string{"name: nats-small", "streams: 10", "name: nats-small-second", "streams: 12345"}, nil)
	if trove, err := ShippedCatalog("trove"); err != nil {
		t.Error(err)
	} else if trove, err = WithSecondPlan(trove, "trove", map[string]any{"flavor": "m1.medium"}); err != nil {
		t.Error(err)
	} else { // the shipped second plan has another volume
		expectIn(t, trove, []string{"trove-mysql-small-second", "volume: 5GB"}, []string{"trove-mysql-medium", "volume: 20GB"})
	}
	if strings.Count(string(text), "1fb09eaa-b1e3-4831-8036-bf3c5cd0e778") != 1 {
		t.Error("both plans have the same id")
	}
	if _, err := WithSecondPlan(text, "no-such-backend", map[string]any{}); err == nil || !strings.Contains(err.Error(), "no-such-backend") {
		t.Errorf("an unknown backend: %v", err)
	}
	for backend, want := range map[string]map[string]any{"postgres": nil, "rabbitmq": {"connections": 25, "queue_size": "32MB"}} {
		config, err := SecondPlan(t.Context(), backend)
		if diff := cmp.Diff(want, config); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", backend, err, diff)
		}
	}
}

// Each backend of the shipped catalogs has a server in families or cloudFamilies.
func TestBackends(t *testing.T) {
	for _, c := range []struct{ types, want []string }{{nil, Backends()}, {all.Cloud(), CloudBackends()}} {
		var shipped struct {
			Backends map[string]any `yaml:"backends"`
		}
		text, err := all.Catalog(c.types...)
		if err := errors.Join(err, yaml.Unmarshal(text, &shipped)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(shipped.Backends)), slices.Sorted(slices.Values(c.want))); diff != "" {
			t.Errorf("backends (-shipped +here):\n%s", diff)
		}
	}
}
