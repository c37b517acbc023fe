package trove

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func isPending(err error) bool {
	_, pending := errors.AsType[*services.NotYetError](err)
	return pending
}

// A server that Trove could not make is deleted, with Trove's reason in the error, and another
// attempt makes a new one.
func TestFailedCreate(t *testing.T) {
	t.Parallel()
	cloud, ctx := newCloud(t), testContext(t)
	b := cloud.backend(t, nil)
	inst := newInstance(t, "i")
	inst.Plan.Volume = 13 * services.Gigabyte // the cloud's volume service fails
	t.Cleanup(func() { _ = servicetest.Patient(b).Deprovision(context.WithoutCancel(ctx), inst) })
	err := servicetest.Patient(b).Provision(ctx, inst)
	if _, rejected := services.IsRejected(err); err == nil || rejected || !strings.Contains(err.Error(), "Trove says: ") {
		t.Errorf("%v", err)
	}
	inst.Plan.Volume = services.Gigabyte
	if err := servicetest.Patient(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	if _, s := lookup(t, b, inst); s.Volume.Size != 1 {
		t.Errorf("%+v", s)
	}
}

// What the cloud lacks or does not allow is named.
func TestImpossiblePlans(t *testing.T) {
	t.Parallel()
	cloud, ctx := newCloud(t), testContext(t)
	b := cloud.backend(t, nil)
	for name, test := range map[string]struct {
		change func(*instance)
		users  bool
		want   string
	}{
		"a flavor that vanished":  {func(i *instance) { i.Plan.Flavor = "m1.gone" }, false, "no flavor m1.gone"},
		"a version that vanished": {func(i *instance) { i.Plan.Version = "4.1" }, false, "version 4.1"},
		"a datastore without it":  {func(i *instance) { i.Plan.Datastore = "percona" }, false, "percona"},
		"more than the quota":     {func(i *instance) { i.Plan.Volume = 500 * services.Gigabyte }, true, "quota"},
		"a collation of no server": {func(i *instance) { i.Params.Collate = "latin2_klingon_ci" }, true,
			"parameters.collate: "},
	} {
		t.Run(name, func(t *testing.T) {
			inst := newInstance(t, "i")
			test.change(&inst)
			t.Cleanup(func() { _ = servicetest.Patient(b).Deprovision(context.WithoutCancel(ctx), inst) })
			err := servicetest.Patient(b).Provision(ctx, inst)
			if _, rejected := services.IsRejected(err); err == nil || rejected != test.users || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
			t.Log(err)
		})
	}
}

// Two servers of one name, which a lost answer can leave, become one: the older. What was made by
// hand beside it stays until the instance is deleted.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	cloud, ctx := newCloud(t), testContext(t)
	b := cloud.backend(t, nil)
	inst := provisioned(t, b, nil)
	at, first := lookup(t, b, inst)
	other := at.byHand(t, "by hand", inst.Plan)
	waited(t, at, at.byHand(t, first.Name, inst.Plan))
	bd := newBinding(t, inst, "1")
	if _, err := servicetest.Once(b).Bind(ctx, inst, bd); err == nil || !strings.Contains(err.Error(), "2 database servers") {
		t.Errorf("bind: %v", err)
	}
	if err := servicetest.Patient(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	if _, s := lookup(t, b, inst); s.ID != first.ID {
		t.Errorf("the younger server stays")
	}
	if s := waited(t, at, other); s.Name != "by hand" {
		t.Errorf("%+v", s)
	}
}

// A server that somebody deleted in Horizon: the user hears of it, and the operator sees it.
func TestDeletedByHand(t *testing.T) {
	t.Parallel()
	cloud, ctx := newCloud(t), testContext(t)
	b := cloud.backend(t, nil)
	inst := provisioned(t, b, nil)
	bd, _ := bound(t, b, inst, "1")
	at, s := lookup(t, b, inst)
	if err := at.delete(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	for ; ; time.Sleep(poll / 2) {
		if _, err := at.server(ctx, s.ID); err != nil {
			break
		}
	}
	_, err := servicetest.Patient(b).Bind(ctx, inst, newBinding(t, inst, "2"))
	if message, rejected := services.IsRejected(err); !rejected || !strings.Contains(message, "somebody deleted it") {
		t.Errorf("bind: %v", err)
	}
	found, err := b.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	listed := false
	for _, r := range found {
		if r.Instance == inst.Name {
			listed = r.Leftover && r.Binding == ""
		}
	}
	if !listed {
		t.Errorf("not listed as a leftover: %+v", found)
	}
	unbound(t, b, inst, bd)
}

// A fault of a request that Trove refused says nothing about the server.
func testStaleFault(t *testing.T, _ *testCloud, b *backend, inst instance) {
	ctx := testContext(t)
	at, s := lookup(t, b, inst)
	if err := at.deleteUser(ctx, s.ID, "nobody"); err == nil {
		t.Fatal("Trove deleted nobody")
	}
	if s = waited(t, at, s.ID); s.Fault == nil {
		t.Fatal("Trove reports no fault")
	}
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Error(err)
	}
	bd, credentials := bound(t, b, inst, "1")
	dialled(t, credentials)
	unbound(t, b, inst, bd)
}

// Answers that are not Trove's cause errors that name the service and quote nothing else.
func testStrangeAnswers(t *testing.T, cloud *testCloud, b *backend, inst instance) {
	bd, _ := bound(t, b, inst, "strange answers")
	project, err := b.cloud.FindProject(testContext(t), inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	html := "<html><body>Forbidden by proxy.internal, password=hunter2</body></html>"
	for name, test := range map[string]struct {
		status int
		body   string
	}{
		"403 in HTML":       {403, html},
		"500 in HTML":       {500, html},
		"502 in HTML":       {502, html},
		"200 in HTML":       {200, html},
		"200 empty":         {200, ""},
		"200 an empty list": {200, `{"instances": 5}`},
		"200 another key":   {200, `{"servers": []}`},
		"404":               {404, `{"itemNotFound": {"code": 404, "message": "gone"}}`},
		"500 of Trove":      {500, `{"instanceFault": {"code": 500, "message": "Internal Server Error"}}`},
		"503 of Trove":      {503, ""},
		"429":               {429, `{"overLimit": {"code": 429, "message": "slow down"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			front := cloud.front(t, func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			b := cloud.backendAt(t, front, nil)
			fresh := newInstance(t, "fresh")
			fresh.Name = inst.Name
			b.last.Store(&project)
			ready := b.Ready(testContext(t))
			if down := test.status >= 500 || name == "200 in HTML"; down != (ready != nil) {
				t.Errorf("ready: %v", ready)
			}
			for verb, err := range map[string]error{
				"provision":   servicetest.Once(b).Provision(testContext(t), fresh),
				"bind":        second(servicetest.Once(b).Bind(testContext(t), inst, bd)),
				"unbind":      servicetest.Once(b).Unbind(testContext(t), inst, bd),
				"update":      servicetest.Once(b).Update(testContext(t), inst, inst),
				"verify":      servicetest.Once(b).Verify(testContext(t), inst, bd),
				"deprovision": servicetest.Once(b).Deprovision(testContext(t), inst),
				"list":        second(b.List(testContext(t))),
			} {
				_, rejected := services.IsRejected(err)
				if err == nil || isPending(err) || rejected || !strings.Contains(err.Error(), "Trove") || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "://") {
					t.Errorf("%s: %v", verb, err)
				}
			}
		})
	}
}

// The agents of a real Trove work after Trove has answered: a bind waits until its login works, and
// an unbind until it does not.
func testSlowAgent(t *testing.T, cloud *testCloud, _ *backend, inst instance) {
	b := cloud.backendAt(t, cloud.slowAgents(t, 2*time.Second), nil)
	bd := newBinding(t, inst, "slow")
	for range 2 {
		credentials, err := servicetest.Patient(b).Bind(testContext(t), inst, bd)
		if err != nil {
			t.Fatal(err)
		}
		s := dialled(t, credentials)
		s.must(t, "SET PASSWORD = PASSWORD('mine')")
		if err := servicetest.Patient(b).Verify(testContext(t), inst, bd); err != nil {
			t.Fatal(err)
		}
		dialled(t, credentials)
		unbound(t, b, inst, bd)
		if s.run(t, "SELECT 1") == nil {
			t.Error("the session goes on")
		}
		refusedLogin(t, credentials)
	}
}

// slowAgents is a reverse proxy to the cloud that answers requests for which Trove does not wait
// for a server's agent, and forwards them later, in their order.
func (c *testCloud) slowAgents(t *testing.T, delay time.Duration) string {
	t.Helper()
	cloud := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: c.address})
	queue := make(chan *http.Request, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r := range queue {
			time.Sleep(delay)
			cloud.ServeHTTP(httptest.NewRecorder(), r)
		}
	}()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, last, _ := strings.Cut(r.URL.Path, "/instances/")
		parts := strings.Split(last, "/") // ID, users or databases, name, databases, name
		if r.Method == http.MethodGet || len(parts) < 2 || len(parts) > 3 || parts[1] != "users" && parts[1] != "databases" {
			cloud.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		later := r.Clone(context.Background())
		later.Body = io.NopCloser(strings.NewReader(string(body)))
		queue <- later
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(func() {
		server.Close()
		close(queue)
		<-done
	})
	return server.Listener.Addr().String()
}

func second[T any](_ T, err error) error { return err }

// front is a reverse proxy to the cloud in which every request to Trove is answered otherwise.
func (c *testCloud) front(t *testing.T, answer func(http.ResponseWriter)) string {
	t.Helper()
	cloud := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: c.address})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1.0/") {
			answer(w)
		} else {
			cloud.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// Lists whose pages lead in a circle or do not end are errors in time.
func TestPagesInACircle(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	front := cloud.front(t, func(w http.ResponseWriter) {
		_ = json.NewEncoder(w).Encode(map[string]any{"instances": []any{}, "links": []any{map[string]string{"rel": "next", "href": "https://elsewhere.example/?marker=same"}}})
	})
	b := cloud.backendAt(t, front, nil)
	inst := newInstance(t, "i")
	ctx, cancel := context.WithTimeout(testContext(t), 20*time.Second)
	defer cancel()
	t.Cleanup(func() { _ = servicetest.Patient(cloud.backend(t, nil)).Deprovision(context.WithoutCancel(ctx), inst) })
	if err := servicetest.Once(b).Provision(ctx, inst); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("%v", err)
	}
}

// Trove answers users in pages of 20.
func testManyUsers(t *testing.T, _ *testCloud, b *backend, inst instance) {
	at, s := lookup(t, b, inst)
	const many = 45
	var users []map[string]any
	for i := range many {
		name := services.BindingName(inst.ID, fmt.Sprint("many ", i))
		users = append(users, map[string]any{"name": userName(name), "password": "p4ssw0rd", "databases": []named{{marker(name, s.ID)}}})
	}
	if err := at.call(testContext(t), http.MethodPost, map[string]any{"users": users}, nil, "instances", s.ID, "users"); err != nil {
		t.Fatal(err)
	}
	found, err := b.List(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, r := range found {
		if r.Instance == inst.Name {
			listed[r.Binding] = true
		}
	}
	for i := range many {
		if !listed[services.BindingName(inst.ID, fmt.Sprint("many ", i))] {
			t.Errorf("user %d is not listed", i)
		}
	}
}

// A server that hangs or talks nonsense.
func TestStrangeServers(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	small := cloud.suite()
	servicetest.RunStrangeServers(t, small, map[string]servicetest.Strange{
		"hangs":       servicetest.Hangs,
		"talks MySQL": servicetest.Says("\x17\x00\x00\x00\xff\x10\x04Too many"),
	}, map[string]servicetest.Strange{
		"is silent in the middle": servicetest.Silences(cloud.address, 3000),
	})
}

// A server whose creation was abandoned appears after a deprovision began.
func TestLateServer(t *testing.T) {
	t.Parallel()
	cloud, ctx := newCloud(t), testContext(t)
	b := cloud.backend(t, nil)
	inst := newInstance(t, "late")
	p, err := b.cloud.EnsureProject(ctx, inst.Name)
	if err != nil {
		t.Fatal(err)
	}
	at, err := b.visit(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Once(b).Deprovision(ctx, inst); !isPending(err) {
		t.Fatalf("the first call: %v", err)
	}
	if err := at.makeServer(ctx, inst, ""); !isPending(err) {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	cloud.nothingLeft(t, inst.Name)
}
