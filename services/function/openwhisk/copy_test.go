package openwhisk

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// fill makes everything that a namespace can contain.
func fill(t *testing.T, mine map[string]any) func(*testing.T, map[string]any) {
	t.Helper()
	a := newApplication(t, mine)
	values := []any{object{"key": "text", "value": "a <b> & ä"}, object{"key": "number", "value": 1e300}, object{"key": "deep", "value": object{"b": []any{1, nil}, "a": "x"}}}
	put := func(path string, body object) {
		t.Helper()
		a.expect(t, 200, "PUT", a.own(strings.ReplaceAll(path, " ", "%20")), body)
	}
	put("/packages/tools", object{"publish": true, "version": "1.2.3", "parameters": values, "annotations": values[:1]})
	put("/packages/bound", object{"binding": object{"namespace": "_", "name": "tools"}, "parameters": values[2:]})
	put("/packages/system", object{"binding": object{"namespace": "whisk.system", "name": "alarms"}})
	action := javascript("function run(p) { return { got: p.text }; } // " + strings.Repeat("ä", 20_000))
	action["exec"].(object)["main"] = "run"
	action["limits"] = object{"timeout": 3000, "memory": 128, "logs": 1}
	action["annotations"], action["parameters"], action["version"] = []any{object{"key": "web-export", "value": true}, object{"key": "lock", "value": true}}, values, "3.0.7"
	put("/actions/tools/one @ction", action)
	put("/actions/plain", javascript(hello))
	sequence := func(components ...string) object {
		return object{"exec": object{"kind": "sequence", "components": components}}
	}
	put("/actions/z", sequence("/_/plain", "/_/tools/one @ction"))
	put("/actions/a", sequence("/_/z", "/_/plain"))
	put("/actions/gone", javascript(hello))
	put("/actions/dangling", sequence("/_/gone"))
	put("/triggers/idle", object{"parameters": values, "annotations": values})
	put("/triggers/clock", object{"annotations": []any{object{"key": "feed", "value": "/whisk.system/alarms/alarm"}}})
	put("/rules/active", object{"trigger": "/_/clock", "action": "/_/a"})
	put("/rules/inactive", object{"trigger": "/_/idle", "action": "/_/tools/one @ction", "annotations": values[:2]})
	put("/rules/dangling-rule", object{"trigger": "/_/idle", "action": "/_/dangling"})
	a.expect(t, 200, "POST", a.own("/rules/inactive"), object{"status": "inactive"})
	a.expect(t, 200, "DELETE", a.own("/actions/gone"), nil)
	a.expect(t, 200, "POST", "/namespaces/whisk.system/actions/alarms/alarm?blocking=true", object{
		"lifecycleEvent": "CREATE", "triggerName": "/_/clock", "cron": "0 0 1 1 *", "timezone": "Europe/Berlin", "trigger_payload": object{"secret": "value"},
	})
	want := entities(t, a)
	return func(t *testing.T, theirs map[string]any) {
		t.Helper()
		got := entities(t, newApplication(t, theirs))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("entities (-want +got):\n%s", diff)
		}
	}
}

// entities is what an application reads of its namespace, without when things were changed.
func entities(t *testing.T, a application) map[string]any {
	t.Helper()
	found := map[string]any{}
	for _, collection := range []string{"packages", "actions", "triggers", "rules"} {
		list, _ := a.expect(t, 200, "GET", a.own("/"+collection+"?limit=0"), nil).([]any)
		for _, one := range list {
			o, _ := one.(object)
			name := fmt.Sprint(o["name"])
			if _, pkg, packaged := strings.Cut(fmt.Sprint(o["namespace"]), "/"); packaged {
				name = pkg + "/" + name
			}
			if strings.Contains(name, "chandler-probe") || strings.HasPrefix(name, "dangling") {
				continue
			}
			path := "/" + collection + "/" + strings.ReplaceAll(name, " ", "%20")
			found[path] = portable(a, a.expect(t, 200, "GET", a.own(path), nil))
		}
	}
	feed, _ := a.expect(t, 200, "POST", "/namespaces/whisk.system/actions/alarms/alarm?blocking=true&result=true",
		object{"lifecycleEvent": "READ", "triggerName": "/_/clock"}).(object)
	if status, ok := feed["status"].(object); ok {
		delete(status, "dateChanged")
		delete(status, "dateChangedISO")
	}
	found["feed"] = portable(a, feed)
	return found
}

// portable replaces the namespace's name, and drops times.
func portable(a application, value any) any {
	switch v := value.(type) {
	case object:
		out := object{}
		for key, inner := range v {
			if key != "updated" && !strings.Contains(key, "dangling") {
				out[strings.ReplaceAll(key, a.namespace, "NS")] = portable(a, inner)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = portable(a, v[i])
		}
		return out
	case string:
		return strings.ReplaceAll(v, a.namespace, "NS")
	}
	return value
}

func copied(t *testing.T, b *backend, inst instance) (string, services.Contents) {
	t.Helper()
	var stream strings.Builder
	contents, err := b.Backup(t.Context(), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: &stream})
	if err != nil {
		t.Fatal(err)
	}
	return stream.String(), contents
}

// namespaceOf makes an instance, and an application of it.
func namespaceOf(t *testing.T, b *backend, id string, change func(*Plan)) (instance, application) {
	t.Helper()
	inst := testInstance(t, `{}`)
	inst.ID, inst.Name = id, services.InstanceName(id)
	if change != nil {
		change(&inst.Plan)
	}
	if err := servicetest.Once(b).Provision(t.Context(), inst); err != nil {
		t.Fatal(err)
	}
	c, err := servicetest.Once(b).Bind(t.Context(), inst, testBinding(t, id))
	if err != nil {
		t.Fatal(err)
	}
	return inst, newApplication(t, c.Values)
}

// A copy does nothing that an application of the namespace may not do.
func TestHostileCopies(t *testing.T) {
	b := newServer(t).open(t)
	_, victim := namespaceOf(t, b, "victim", nil)
	victim.expect(t, 200, "PUT", victim.own("/actions/secret"), javascript(hello))
	their := "/" + victim.namespace + "/secret"
	action := `{"exec": {"kind": "nodejs:default", "code": "function main() {}"}, "limits": {"memory": 512}}`
	for name, c := range map[string]struct {
		line     string
		rejected bool
		want     string
	}{
		"another's action":      {`{"collection": "actions", "name": "a", "body": {"exec": {"kind": "sequence", "components": ["` + their + `"]}}}`, true, "not authorized"},
		"a name upwards":        {`{"collection": "actions", "name": "../../` + victim.namespace + `/actions/secret", "body": ` + action + `}`, false, "is not a name of actions"},
		"a name with dots":      {`{"collection": "packages", "name": "..", "body": {}}`, false, "is not a name of packages"},
		"a key":                 {`{"collection": "keys", "name": "k", "body": {"key": "x"}}`, false, "there is no collection"},
		"more than the plan":    {`{"collection": "actions", "name": "a", "body": ` + action + `}`, true, "memory"},
		"the same twice":        {`{"collection": "packages", "name": "p", "body": {}}` + "\n" + `{"collection": "packages", "name": "p", "body": {}}`, false, "exists"},
		"refused amid much":     {`{"collection": "actions", "name": "a", "body": ` + action + `}` + strings.Repeat("\n{}", 4<<20), true, "memory"},
		"a missing package":     {`{"collection": "actions", "name": "p/a", "body": ` + strings.Replace(action, "512", "128", 1) + `}`, true, "does not exist"},
		"no JSON":               {`{"collection": `, false, "not JSON"},
		"an end that lies":      {`{"end": {"format": "openwhisk-1", "counts": {"actions": 1}, "digest": ""}}`, false, "does not contain what its description says"},
		"a feed of no kind":     {endOf(`{"collection": "feeds", "name": "t", "body": {"kind": "x", "settings": {}, "secret": {}}}`), false, "does not contain"},
		"another format at end": {`{"end": {"format": "openwhisk-9"}}`, false, "does not contain"},
	} {
		t.Run(name, func(t *testing.T) {
			inst, _ := namespaceOf(t, b, name, func(p *Plan) { p.Memory = 128 * services.Megabyte })
			err := copyTo(t, b, inst, services.Contents{Format: copyFormat}, c.line+"\n")
			if _, rejected := services.IsRejected(err); err == nil || rejected != c.rejected || !strings.Contains(err.Error(), c.want) {
				t.Errorf("rejected %t: %v; want %t: %s", rejected, err, c.rejected, c.want)
			}
		})
	}
}

func endOf(line string) string {
	return line + "\n" + `{"end": {"format": "openwhisk-1", "counts": {"feeds": 1}, "digest": ""}}`
}

func copyTo(t *testing.T, b *backend, inst instance, contents services.Contents, stream string) error {
	t.Helper()
	_, err := b.Restore(t.Context(), services.RestoreRequest[Plan, InstanceParams]{Instance: inst, Contents: contents, Reader: strings.NewReader(stream)})
	return err
}

// A copy goes into an empty namespace only, and a feed whose time has passed does not start.
func TestCopiesOfFeeds(t *testing.T) {
	b := newServer(t).open(t)
	inst, a := namespaceOf(t, b, "i", nil)
	a.expect(t, 200, "PUT", a.own("/triggers/t"), object{})
	alarm := "/namespaces/whisk.system/actions/alarms/once?blocking=true&result=true"
	a.expect(t, 200, "POST", alarm, object{"lifecycleEvent": "CREATE", "triggerName": "/_/t", "date": time.Now().Add(2 * time.Second).UnixMilli()})
	stream, contents := copied(t, b, inst)
	// Something of an earlier attempt may still have arrived, so that another attempt may succeed.
	err := copyTo(t, b, inst, contents, stream)
	if _, rejected := services.IsRejected(err); rejected || err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("restored over another: %v", err)
	}
	time.Sleep(2 * time.Second)
	target, restored := namespaceOf(t, b, "target", nil)
	if err := copyTo(t, b, target, contents, stream); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(restored.expect(t, 200, "POST", alarm, object{"lifecycleEvent": "READ", "triggerName": "/_/t"}))
	if !strings.Contains(got, "its last time has passed") || !strings.Contains(got, "active:false") {
		t.Errorf("the feed: %s", got)
	}
	if _, again := copied(t, b, target); again.Digest != contents.Digest {
		t.Errorf("the copy of the copy: %+v, want %+v", again, contents)
	}
}
