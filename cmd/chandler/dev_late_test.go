package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/workspace"
)

// written is what a command prints, read while it runs.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *written) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(w.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q is not printed, but\n%s", text, w.String())
		}
	}
}

// slowNATS is a chandler dev whose NATS server fails at its first start, and whose
// further starts wait for up.
type slowNATS struct {
	folder string
	up     chan struct{}
	said   *written
	ended  chan error
	stop   context.CancelFunc
}

func startSlowNATS(t *testing.T, folder string) *slowNATS {
	t.Helper()
	d := &slowNATS{folder: folder, up: make(chan struct{}), said: &written{}, ended: make(chan error, 1)}
	failed := false
	servers := workspace.Companions()
	at := slices.IndexFunc(servers, func(c workspace.Companion) bool { return slices.Contains(c.Backends, "queue/nats") })
	startNATS := servers[at].Start
	servers[at].Start = func(ctx context.Context, f *workspace.Folder, progress io.Writer) (workspace.Server, map[string]string, error) {
		if !failed {
			failed = true
			return nil, nil, errors.New("it did not get ready")
		}
		select {
		case <-d.up:
			return startNATS(ctx, f, progress)
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	var ctx context.Context
	ctx, d.stop = context.WithCancel(t.Context())
	o := devOptions{
		listen: "127.0.0.1:0", data: d.folder, format: "text",
		Options: workspace.Options{
			Only: []string{"database/postgres", "queue/nats"}, Progress: d.said, Companions: servers, Patience: 50 * time.Millisecond,
		},
	}
	go func() { d.ended <- dev(ctx, o, d.said) }()
	return d
}

func (d *slowNATS) end(t *testing.T) {
	t.Helper()
	d.stop()
	if err := <-d.ended; err != nil {
		t.Error(err)
	}
}

func (d *slowNATS) client(t *testing.T) *osbclient.Client {
	t.Helper()
	d.said.await(t, "ready: ")
	word := func(after string) string {
		_, rest, _ := strings.Cut(d.said.String(), after)
		line, _, _ := strings.Cut(rest, "\n")
		return line
	}
	c, err := osbclient.New(osbclient.Options{URL: word("ready: "), Username: word("user: "), Password: word("password: ")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// queue returns the service queue of the catalog, once it is there.
func (d *slowNATS) queue(t *testing.T, c *osbclient.Client) osbclient.ProvisionRequest {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		catalog, err := c.Catalog(t.Context())
		if err != nil {
			continue // it is between the one catalog and the other
		}
		for _, s := range catalog.Services {
			if s.Name == "queue" {
				return osbclient.ProvisionRequest{ServiceID: s.ID, PlanID: s.Plans[0].ID, OrganizationGUID: "o", SpaceGUID: "s", AcceptsIncomplete: true}
			}
		}
	}
	t.Fatalf("the plans of NATS do not appear\n%s", d.said)
	return osbclient.ProvisionRequest{}
}

// Nobody waits for a server that is slow to start: its plans appear once it is up. If it has
// instances, dev waits for it.
func TestSlowServer(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	d := startSlowNATS(t, folder)
	c := d.client(t)
	catalog, err := c.Catalog(t.Context())
	if err != nil || len(catalog.Services) != 1 {
		t.Fatalf("%d services, %v; want the database alone", len(catalog.Services), err)
	}
	d.said.await(t, "later: queue/nats: its server is still starting")
	d.said.await(t, "not up: queue/nats: it did not get ready; trying again")
	close(d.up)
	request := d.queue(t, c)
	made, err := c.Provision(t.Context(), "i", request)
	if err != nil || made.Status != http.StatusCreated {
		t.Fatalf("%d, %v", made.Status, err)
	}
	d.end(t)

	again := startSlowNATS(t, folder)
	again.said.await(t, "waiting for the servers of queue/nats, which have instances")
	close(again.up)
	c = again.client(t)
	if _, err := c.FetchInstance(t.Context(), "i", "", ""); err != nil {
		t.Error(err)
	}
	again.end(t)
}

// A dev that ends while a server is still starting ends with all it started.
func TestSlowServerAtTheEnd(t *testing.T) {
	d := startSlowNATS(t, filepath.Join(t.TempDir(), "data"))
	d.client(t)
	d.end(t)
	n, err := embedded.StartNATS(t.Context(), embedded.NATSOptions{Dir: filepath.Join(d.folder, "nats")})
	if err != nil {
		t.Fatalf("the folder is still in use: %v", err)
	}
	if err := n.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
