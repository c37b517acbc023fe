package manila

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/openstack"
	"github.com/chandler-broker/chandler/services/openstack/openstacktest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// inside is Manila in an instance's project, as somebody sees it who works there by hand.
func inside(t testing.TB, b *backend, inst instance) project {
	t.Helper()
	in, err := b.cloud.FindProject(testContext(t), inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.enter(testContext(t), in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func shareOf(t testing.TB, b *backend, inst instance) shares.Share {
	t.Helper()
	_, s, err := b.share(testContext(t), inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// await calls a function until it returns true.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	err := servicetest.ToTheEnd(testContext(t), func(context.Context) error {
		if done() {
			return nil
		}
		return services.NotYet(pollRule, what)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// deprovisioned fails t if anything remains of an instance.
func deprovisioned(t testing.TB, c *testCloud, b *backend, inst instance) {
	t.Helper()
	if err := servicetest.Patient(b).Deprovision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	if left, err := c.leftOf(testContext(t), inst.Name, nil); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// If the answer to a request for a share was lost, there may be two. One of them stays.
func TestTwoShares(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	b := cloud.backend(t, "mtest")
	inst := provisioned(t, b, nil)
	first := shareOf(t, b, inst)
	if err := inside(t, b, inst).create(testContext(t), "again", inst, ""); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	if found, err := cloud.sharesOf(testContext(t), inst.Name); err != nil || len(found) != 1 || found[0].ID != first.ID {
		t.Errorf("%+v, %v, want only %s", found, err, first.ID)
	}
	deprovisioned(t, cloud, b, inst)
}

// A share that Manila cannot place ends in an error that says why, and is deleted. A repeated call
// tries again.
func TestUnplaceable(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	cloud.shareType(t, "manila-nowhere", "NOSUCH", true)
	cloud.shareType(t, "manila-private", "CEPHFS", false)
	for _, test := range []struct {
		name   string
		change func(*Plan)
		full   bool
		words  string
	}{
		{"a size that no back end has", func(p *Plan) { p.Storage = 2 * services.Terabyte }, true, "No storage could be allocated"},
		{"a type that no back end has", func(p *Plan) { p.ShareType = "manila-nowhere" }, true, "Manila could not create share"},
		{"a type that does not exist", func(p *Plan) { p.ShareType = "manila-absent" }, false, "share_type: Manila has no share type manila-absent"},
		{"a private type", func(p *Plan) { p.ShareType = "manila-private" }, false, "share_type: Manila has no share type manila-private, or does not show it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := cloud.backend(t, "mtest")
			inst := newInstance(t, func(i *instance) { i.Plan.MaxStorage = 0; test.change(&i.Plan) })
			for range 2 {
				err := servicetest.Patient(b).Provision(testContext(t), inst)
				t.Log(err)
				expect(t, err, test.words)
				if services.IsOutOfCapacity(err) != test.full {
					t.Errorf("is out of capacity: %t, want %t", !test.full, test.full)
				}
				if _, rejected := services.IsRejected(err); rejected {
					t.Error("the user is blamed")
				}
			}
			deprovisioned(t, cloud, b, inst)
		})
	}
}

// The user reads which quota a size exceeds.
func TestQuota(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	b := cloud.backend(t, "mtest")
	large := func(i *instance) { i.Plan.Storage, i.Plan.MaxStorage = 6*services.Terabyte, 0 }
	refused := newInstance(t, large)
	err := servicetest.Patient(b).Provision(testContext(t), refused)
	t.Log(err)
	checkRejected(t, err, "parameters.storage: the cloud's quotas do not allow this size (", "6144")
	deprovisioned(t, cloud, b, refused)

	inst := provisioned(t, b, nil)
	next := inst
	large(&next)
	err = servicetest.Patient(b).Update(testContext(t), inst, next)
	t.Log(err)
	checkRejected(t, err, "quotas")
	if err := servicetest.Patient(b).Update(testContext(t), next, inst); err != nil { // the engine's undo
		t.Fatal(err)
	}
}

func checkRejected(t *testing.T, err error, words ...string) {
	t.Helper()
	if _, rejected := services.IsRejected(err); !rejected {
		t.Fatalf("%v: want an error for the user", err)
	}
	expect(t, err, words...)
}

// A share that holds too much does not shrink, and loses nothing. Once there is room, it shrinks.
func TestShrinkFull(t *testing.T) {
	t.Parallel()
	b := newClientCloud(t).backend(t, "mtest")
	large := func(i *instance) { i.Params.Storage = 3 * services.Gigabyte }
	inst := provisioned(t, b, large)
	s := dialled(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)))
	// A file with a hole counts like any other.
	if err := os.WriteFile(s.file("big"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.file("big"), int64(2*services.Gigabyte)); err != nil {
		t.Fatal(err)
	}
	await(t, "waiting until Ceph has counted the file", func() bool {
		out, err := ceph(testContext(t), "fs", "subvolume", "info", "cephfs", subvolume(t, b, inst))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(out, `"bytes_used": 2147483648`)
	})
	next := inst
	next.Params.Storage = services.Gigabyte
	for range 2 { // the user tries it again
		checkRejected(t, servicetest.Patient(b).Update(testContext(t), inst, next), "the share holds more than 1 GB", "df")
		if err := servicetest.Patient(b).Update(testContext(t), next, inst); err != nil { // the engine's undo
			t.Fatal(err)
		}
		if got := shareOf(t, b, inst); got.Size != 3 || got.Status != "available" {
			t.Errorf("%d GB, %s", got.Size, got.Status)
		}
	}
	if info, err := os.Stat(s.file("big")); err != nil || info.Size() != int64(2*services.Gigabyte) {
		t.Errorf("the file: %v, %v", info, err)
	}
	if err := os.Remove(s.file("big")); err != nil {
		t.Fatal(err)
	}
	await(t, "waiting until the share has room", func() bool {
		return servicetest.Patient(b).Update(testContext(t), inst, next) == nil
	})
	if got := shareOf(t, b, inst); got.Size != 1 {
		t.Errorf("%d GB, want 1", got.Size)
	}
}

// subvolume is the name of a share in Ceph.
func subvolume(t *testing.T, b *backend, inst instance) string {
	t.Helper()
	location, err := inside(t, b, inst).export(testContext(t), shareOf(t, b, inst).ID)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(location, "/")
	return parts[len(parts)-2]
}

// altered is a backend whose Manila answers with a share status that the real one cannot be brought
// to, until it is asked to change a share.
func altered(t *testing.T, c *testCloud, status *atomic.Value) *backend {
	t.Helper()
	manila := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: c.manila})
	manila.ModifyResponse = func(r *http.Response) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		if s, _ := status.Load().(string); s != "" && r.Request.Method == http.MethodGet && r.StatusCode == http.StatusOK {
			body = bytes.Replace(body, []byte(`"status": "available"`), []byte(`"status": "`+s+`"`), 1)
		} else if r.Request.Method == http.MethodPost {
			status.Store("")
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
		return nil
	}
	server := httptest.NewServer(manila)
	t.Cleanup(server.Close)
	front := openstacktest.Gateway(t, map[string]string{"v3": c.keystone, "v2": server.Listener.Addr().String()})
	return openBackend(t, c.config("mtest", front))
}

// Older releases leave a share that is too full to shrink in a status of its own.
func TestShrinkFullInOlderReleases(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	inst := provisioned(t, cloud.backend(t, "mtest"), func(i *instance) { i.Params.Storage = 3 * services.Gigabyte })
	next := inst
	next.Params.Storage = services.Gigabyte
	var status atomic.Value
	b := altered(t, cloud, &status)
	status.Store("shrinking_possible_data_loss_error")
	checkRejected(t, servicetest.Patient(b).Update(testContext(t), inst, next), "the share holds more than 1 GB")
	if err := servicetest.Patient(b).Update(testContext(t), next, inst); err != nil {
		t.Fatal(err)
	}
	if got := shareOf(t, b, inst); got.Size != 3 || got.Status != "available" {
		t.Errorf("%d GB, %s", got.Size, got.Status)
	}
	next.Params.Storage = 2 * services.Gigabyte // there is nothing between 2 and 3
	status.Store("shrinking_possible_data_loss_error")
	expect(t, servicetest.Patient(b).Update(testContext(t), next, inst), "openstack share set --status available")
}

// Statuses that a member of the project cannot leave are for the operator.
func TestBrokenStatus(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	inst := provisioned(t, cloud.backend(t, "mtest"), nil)
	next := inst
	next.Params.Storage = 2 * services.Gigabyte
	var status atomic.Value
	b := altered(t, cloud, &status)
	for _, s := range []string{"extending_error", "shrinking_error", "error_deleting", "a_status_of_the_future"} {
		status.Store(s)
		verbs := servicetest.Once(b)
		_, bind := verbs.Bind(testContext(t), inst, newBinding(t, inst, "b", access.ReadWrite))
		for verb, err := range map[string]error{
			"provision":   verbs.Provision(testContext(t), inst),
			"update":      verbs.Update(testContext(t), inst, next),
			"bind":        bind,
			"deprovision": verbs.Deprovision(testContext(t), inst),
		} {
			if err == nil || !strings.Contains(err.Error(), s) || !strings.Contains(err.Error(), "set the status") {
				t.Errorf("%s of a share with the status %s: %v", verb, s, err)
			}
		}
	}
}

// Snapshots and shares that somebody made in the project by hand go with the instance.
func TestByHand(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	b := cloud.backend(t, "mtest")
	inst := provisioned(t, b, nil)
	s, p := shareOf(t, b, inst), inside(t, b, inst)
	var made struct{ Snapshot struct{ ID string } }
	err := openstack.Call(testContext(t), p.client, http.MethodPost, p.client.ServiceURL("snapshots"),
		map[string]any{"snapshot": map[string]any{"share_id": s.ID, "name": "by hand"}}, &made)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shares.Create(testContext(t), p.client, shares.CreateOpts{Name: "by hand", ShareProto: "CEPHFS", ShareType: typeCephFS, Size: 1}).Extract(); err != nil {
		t.Fatal(err)
	}
	await(t, "waiting for the snapshot", func() bool {
		list, err := p.snapshots(testContext(t))
		return err == nil && len(list) == 1 && list[0].Status == "available"
	})
	if got := shareOf(t, b, inst); got.ID != s.ID {
		t.Error("the instance's share is another one now")
	}
	deprovisioned(t, cloud, b, inst)
}

// A share that somebody deleted is reported, by bind and by the list.
func TestDeletedByHand(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	b := cloud.backend(t, "mtest")
	inst := provisioned(t, b, nil)
	p := inside(t, b, inst)
	if err := p.delete(testContext(t), shareOf(t, b, inst).ID); err != nil {
		t.Fatal(err)
	}
	await(t, "waiting until the share is deleted", func() bool {
		found, err := p.all(testContext(t))
		return err == nil && len(found) == 0
	})
	_, err := servicetest.Once(b).Bind(testContext(t), inst, newBinding(t, inst, "b", access.ReadWrite))
	expect(t, err, "the instance's share does not exist: somebody deleted it")
	list, err := b.List(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if r.Instance == inst.Name && !r.Leftover {
			t.Errorf("%+v: must be a leftover", r)
		}
	}
	deprovisioned(t, cloud, b, inst)
}

// A share whose creation was abandoned appears after a deprovision began.
func TestLateShare(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	b := cloud.backend(t, "mtest")
	inst := newInstance(t, nil)
	if _, err := b.cloud.EnsureProject(testContext(t), inst.Name); err != nil {
		t.Fatal(err)
	}
	p := inside(t, b, inst)
	if err := servicetest.Once(b).Deprovision(testContext(t), inst); !isNotYet(err) {
		t.Fatalf("the first call: %v", err)
	}
	if err := p.create(testContext(t), "late", inst, ""); err != nil {
		t.Fatal(err)
	}
	deprovisioned(t, cloud, b, inst)
}
