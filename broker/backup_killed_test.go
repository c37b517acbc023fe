package broker_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
	"github.com/chandler-broker/chandler/services"
)

// deaf is a credential store whose calls about keys of backups reach a hook, before and after.
type deaf struct {
	credhub.Store
	call func(ctx context.Context, call string)
}

func (d deaf) Ensure(ctx context.Context, p credhub.Path, value json.RawMessage) (json.RawMessage, error) {
	if p != credhub.BackupKeyPath(services.InstanceName("i")) {
		return d.Store.Ensure(ctx, p, value)
	}
	d.call(ctx, "key")
	value, err := d.Store.Ensure(ctx, p, value)
	d.call(ctx, "keyed")
	return value, err
}

func (d deaf) Delete(ctx context.Context, p credhub.Path) error {
	if p != credhub.BackupKeyPath(services.InstanceName("i")) {
		return d.Store.Delete(ctx, p)
	}
	d.call(ctx, "delete key")
	err := d.Store.Delete(ctx, p)
	d.call(ctx, "deleted key")
	return err
}

// A process that is killed between any two effects of a backup, a restore, a verification or a deletion
// leaves a copy that another replica ends: with one object, one manifest and no scratch instance, and at
// last with nothing.
func TestKilledDuringCopy(t *testing.T) {
	for _, point := range []string{
		"key", "keyed", "write", "backup of i", "backup of i done", "stored", "manifest", "described",
		"restore of copy", "restored of copy done",
		"provision of scratch", "provision of scratch done", "check", "read", "restore of scratch", "restored of scratch done",
		"backup of scratch", "backup of scratch done", "deprovision of scratch", "deprovision of scratch done",
		"delete", "deleted", "delete key", "deleted key",
	} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			k := newKilled(t, point)
			c := k.client
			c.provision("i", on(brokertest.BackedUp), true)
			eventually(t, "it is ready", func() bool { a, _ := c.fetch("i"); return a.word == "200" })
			c.Backend.Write("i", "first", "value")
			c.Backend.Write("i", "second", "value")
			data := c.Backend.Data("i")
			k.armed.Store(true)
			c.update("i", backUp("one"), true)
			eventually(t, "it is backed up", func() bool { return c.backups(t, "i").Count == 1 })
			eventually(t, "a restore is accepted", func() bool {
				word := c.provision("copy", from(brokertest.BackedUp, "i"), true).word
				return word == "202" || word == "201" || word == "200" // an answer may have been lost
			})
			eventually(t, "it is restored", func() bool { a, _ := c.fetch("copy"); return a.word == "200" })
			if diff := cmp.Diff(data, c.Backend.Data("copy")); diff != "" {
				t.Errorf("restored (-want +got):\n%s", diff)
			}
			eventually(t, "the backup is verified, and the scratch instance removed", func() bool {
				n, _ := c.Backend.Size()
				return n == 2 && c.backups(t, "i").Last.Verified != ""
			})
			if objects, manifests := c.Archive.Objects(); len(objects) != 1 || len(manifests) != 1 {
				t.Errorf("objects %v, manifests %v", objects, manifests)
			}
			for _, id := range []string{"i", "copy"} {
				eventually(t, "it is deleted", func() bool {
					a := c.deprovision(id, true)
					return a.word == "Gone" || a.word == "200"
				})
			}
			c.exec(t, "update backups set expires_at = now() - interval '1 second'")
			eventually(t, "the backup is deleted, and its key", func() bool {
				objects, manifests := c.Archive.Objects()
				return len(objects)+len(manifests)+c.Memory.Len() == 0
			})
			eventually(t, "its row is deleted", func() bool {
				var rows int
				err := c.Store.Pool.QueryRow(context.Background(), "select count(*) from backups").Scan(&rows)
				return err == nil && rows == 0
			})
			if !k.killed.Load() {
				t.Error("nothing was killed")
			}
		})
	}
}

// killed is a replica that stops for ever at a point, and loses its sessions with the state, while
// others go on.
type killed struct {
	client client
	point  string
	armed  atomic.Bool
	killed atomic.Bool
	gate   *brokertest.Gate
}

func newKilled(t *testing.T, point string) *killed {
	t.Helper()
	k := &killed{point: point, gate: brokertest.NewGate()}
	memory := &credtest.Memory{}
	o := brokertest.Options{
		DatabaseURL: brokertest.Database(t), Backend: brokertest.NewBackend(), Archive: brokertest.NewArchive(),
		Credentials: memory, Store: deaf{memory, k.reach}, AsyncWait: time.Millisecond,
	}
	who := func(id string) string {
		if id != "i" && id != "copy" {
			return "scratch"
		}
		return id
	}
	o.Backend.BeforeCall(func(ctx context.Context, verb, id string) error {
		k.reach(ctx, verb+" of "+who(id))
		return nil
	})
	o.Backend.AfterCall(func(ctx context.Context, verb, id, _ string) error {
		k.reach(ctx, verb+" of "+who(id)+" done")
		return nil
	})
	o.Archive.OnCall(func(call string) error {
		k.reach(context.Background(), call)
		return nil
	})
	k.client = client{newHarness(t, o), brokertest.CallerContext()}
	newHarness(t, o)
	t.Cleanup(k.gate.Open) // before the replicas end
	return k
}

// reach is called at every point.
func (k *killed) reach(ctx context.Context, point string) {
	if !k.armed.Load() || point != k.point || !k.killed.CompareAndSwap(false, true) {
		return
	}
	go func() {
		// The database ends the sessions of a machine that is gone.
		_, _ = k.client.Store.Pool.Exec(context.Background(),
			`select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction' and datname = current_database() and pid <> pg_backend_pid()`)
	}()
	_ = k.gate.Pass(context.WithoutCancel(ctx))
}
