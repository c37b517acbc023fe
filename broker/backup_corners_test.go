package broker_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/operation"
)

func inNamespace(d domain.ProvisionDetails, namespace, cluster string) domain.ProvisionDetails {
	d.OrganizationGUID, d.SpaceGUID = "", ""
	d.RawContext = json.RawMessage(fmt.Sprintf(`{"platform": "kubernetes", "namespace": %q, "clusterid": %q}`, namespace, cluster))
	return d
}

// On Kubernetes, a tenant is a namespace of a cluster.
func TestBackupsOfNamespaces(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.provision("i", inNamespace(on(brokertest.BackedUp), "mine", "c"), true).want(t, "201")
	c.Backend.Write("i", "key", "value")
	c.update("i", backUp("one"), true).want(t, "200")
	unknown := c.provision("n", inNamespace(from(brokertest.BackedUp, "none"), "mine", "c"), true).want(t, "Invalid").text()
	for name, d := range map[string]domain.ProvisionDetails{
		"another namespace": inNamespace(from(brokertest.BackedUp, "i"), "theirs", "c"),
		"another cluster":   inNamespace(from(brokertest.BackedUp, "i"), "mine", "d"),
		"no namespace":      from(brokertest.BackedUp, "i"),
	} {
		if a := c.provision("n", d, true); a.word != "Invalid" || a.text() != unknown {
			t.Errorf("%s: %s %q, want %q", name, a.word, a.text(), unknown)
		}
	}
	clone := with(on(brokertest.BackedUp), `{"clone_of": "i"}`)
	if a := c.provision("n", inNamespace(clone, "theirs", "c"), true); a.word != "Invalid" || !strings.Contains(a.text(), "no instance of this service") {
		t.Errorf("a clone in another namespace: %s %q", a.word, a.text())
	}
	c.provision("copy", inNamespace(from(brokertest.BackedUp, "i"), "mine", "c"), true).want(t, "201")
	c.provision("clone", inNamespace(clone, "mine", "c"), true).want(t, "201")
	for _, id := range []string{"copy", "clone"} {
		if diff := cmp.Diff(c.Backend.Data("i"), c.Backend.Data(id)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
}

// A retained instance's backups can be restored under the ID that the platform knew, also after
// its end, and they follow it when it is restored itself.
func TestBackupsOfRetained(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	data := c.filled(t, "i", brokertest.BackedUpKept)
	c.update("i", backUp("one"), true).want(t, "200")
	c.deprovision("i", true).want(t, "200")
	retained := c.retained(t, "i")[0]
	expect := func(id, source string) {
		t.Helper()
		c.provision(id, from(brokertest.BackedUpKept, source), true).want(t, "201")
		if diff := cmp.Diff(data, c.Backend.Data(id)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
	}
	expect("while-retained", "i")
	c.provision("n", with(on(brokertest.BackedUpKept), `{"clone_of": "i"}`), true).want(t, "Invalid")
	c.provision("n", with(on(brokertest.BackedUpKept), fmt.Sprintf(`{"clone_of": %q}`, retained.ID)), true).want(t, "Invalid")

	if err := c.Engine.Restore(c.ctx, operation.Restoration{RetainedID: retained.ID, NewID: "new"}); err != nil {
		t.Fatal(err)
	}
	if b := c.backups(t, "new"); b.Count != 1 || b.Last.Name != "one" {
		t.Errorf("backups of the restored instance: %+v", b)
	}
	expect("of-restored", "new")
	c.provision("n", from(brokertest.BackedUpKept, "i"), true).want(t, "Invalid")

	c.deprovision("new", true).want(t, "200")
	if err := c.Engine.Purge(c.ctx, c.retained(t, "new")[0].ID, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is purged", func() bool { return len(c.retained(t, "new")) == 0 })
	expect("of-purged", "new")
	c.exec(t, "update backups set expires_at = now() - interval '1 second' where instance_id = 'new' and expires_at is not null")
	eventually(t, "its backups end", func() (ended bool) {
		err := c.Store.Pool.QueryRow(c.ctx, "select not exists (select from backups where instance_id = 'new')").Scan(&ended)
		return err == nil && ended
	})
	c.provision("n", from(brokertest.BackedUpKept, "new"), true).want(t, "Invalid")
}

// A backup is restored on another server, and not to a plan that has no room for it.
func TestBackupsElsewhere(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	data := c.filled(t, "i", brokertest.BackedUpPool)
	c.update("i", backUp("one"), true).want(t, "200")
	server := func(id string) (name string) {
		t.Helper()
		if err := c.Store.Pool.QueryRow(c.ctx, "select server from instances where id = $1", id).Scan(&name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	c.provision("copy", from(brokertest.BackedUpPool, "i"), true).want(t, "201")
	if server("copy") == server("i") {
		t.Errorf("both are on server %s", server("i"))
	}
	if diff := cmp.Diff(data, c.Backend.Data("copy")); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}

	c.filled(t, "large", brokertest.BackedUp)
	c.Backend.Write("large", "key", strings.Repeat("x", 1500))
	c.update("large", backUp("one"), true).want(t, "200")
	if a := c.provision("n", from(brokertest.BackedUpTwin, "large"), true); a.word != "Invalid" || !strings.Contains(a.text(), "choose a larger plan") {
		t.Errorf("to a plan that is too small: %s %q", a.word, a.text())
	}
	c.provision("n", from(brokertest.BackedUp, "large"), true).want(t, "201")
}

// A name of a backup has 64 characters at most, which need no quoting anywhere.
func TestNamesOfBackups(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	for _, name := range []string{"a", "7", strings.Repeat("a", 64), "A.b-c_d", "9.."} {
		c.update("i", backUp(name), true).want(t, "200")
	}
	for _, name := range []string{
		"", strings.Repeat("a", 65), ".", "..", ".a", "-a", "_a", "a b", "a/b", "a\\b", "ä", "a\n", "\na", "a\u202e", "a'--", "%2e",
	} {
		if a := c.update("i", backUp(name), true); a.word != "Invalid" || !strings.HasPrefix(a.text(), "parameters.backup.name: ") {
			t.Errorf("%q: %s %q", name, a.word, a.text())
		}
	}
	for _, parameters := range []string{`{"backup": {}}`, `{"backup": {"name": "a\u0000"}}`, `{"backup": null}`, `{"backup": "now"}`, `{"backup": {"name": "x", "at": "y"}}`, `{"backup": {"name": ["x"]}}`, `{"backup": []}`} {
		if a := c.update("i", domain.UpdateDetails{RawParameters: json.RawMessage(parameters)}, true); a.word != "Invalid" || !strings.HasPrefix(a.text(), "parameters.backup") {
			t.Errorf("%s: %s %q", parameters, a.word, a.text())
		}
	}
}

// Whatever names a source is taken as a name.
func TestHostileSources(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	c.update("i", backUp("one"), true).want(t, "200")
	values := []string{
		`\u0000`, `i\u0000`, `\ud800`, `%00`, `../i`, `i/../i`, `' or true --`, `I`, ` i`, `i `, `*`, `%`, `_`, "\u202e", strings.Repeat("i", 255), strings.Repeat("ä", 255),
	}
	for _, value := range values {
		for _, parameters := range []string{
			`{"restore_from": {"instance": "%s"}}`, `{"clone_of": "%s"}`, `{"restore_from_latest_snapshot_of": "%s"}`,
			`{"restore_from": {"instance": "%s", "backup": "latest"}}`,
		} {
			if a := c.provision("n", with(on(brokertest.BackedUp), fmt.Sprintf(parameters, value)), true); a.word != "Invalid" || !strings.HasPrefix(a.text(), "parameters.") {
				t.Errorf(parameters+": %s %q", value, a.word, a.text())
			}
		}
		if len(value) <= 64 {
			if a := c.provision("n", with(on(brokertest.BackedUp), fmt.Sprintf(`{"restore_from": {"instance": "i", "backup": "%s"}}`, value)), true); a.word != "Invalid" {
				t.Errorf("backup %s: %s %q", value, a.word, a.text())
			}
		}
	}
	for _, before := range []string{"0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z"} {
		a := c.provision("n", with(on(brokertest.BackedUp), `{"restore_from": {"instance": "i", "before": "`+before+`"}}`), true)
		if a.word != "Invalid" || !strings.Contains(a.text(), "no backup from before this time") {
			t.Errorf("before %s: %s %q", before, a.word, a.text())
		}
	}
	c.provision("last", with(on(brokertest.BackedUp), `{"restore_from": {"instance": "i", "before": "9999-12-31T23:59:59+00:00"}}`), true).want(t, "201")
}
