package brokertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/store"
)

// patience is how long tests wait for something that has to happen.
const patience = 2 * time.Minute

// ContextOf returns a context of a request from the platform.
func ContextOf(platform string) context.Context {
	return broker.WithCaller(context.Background(), broker.Caller{Platform: platform, RequestID: "request-" + platform})
}

// AwaitOperation waits until the operation ended and returns it.
func (h *Harness) AwaitOperation(t testing.TB, operationID string) store.Operation {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	op, err := h.Engine.Wait(ctx, operationID, patience)
	if err != nil {
		t.Fatalf("wait for operation %s: %v", operationID, err)
	}
	if op.State == store.InProgress {
		t.Fatalf("operation %s (%s) did not end: %q, last error %q", op.ID, op.Kind, op.Description, op.LastError)
	}
	return op
}

// CheckEmpty fails the test if anything is left: instances and bindings in the backend or in
// the state, secrets, unfinished operations.
func (h *Harness) CheckEmpty(t testing.TB) {
	t.Helper()
	instances, bindings := h.Backend.Size()
	var rows, unfinished int
	err := h.Store.Pool.QueryRow(context.Background(), `select (select count(*) from instances) + (select count(*) from bindings),
		(select count(*) from operations where state = 'in progress')`).Scan(&rows, &unfinished)
	if err != nil {
		t.Fatalf("read the state: %v", err)
	}
	got := fmt.Sprintf("%d instances, %d bindings, %d secrets, %d rows, %d operations", instances, bindings, h.Memory.Len(), rows, unfinished)
	if want := "0 instances, 0 bindings, 0 secrets, 0 rows, 0 operations"; got != want {
		t.Errorf("left behind: %s", got)
	}
}

// Gate holds calls of a backend until it is opened.
type Gate struct {
	arrived chan context.Context
	open    chan struct{}
	once    sync.Once
}

// NewGate makes a closed Gate.
func NewGate() *Gate {
	return &Gate{arrived: make(chan context.Context, 1000), open: make(chan struct{})}
}

// Pass waits until the gate is open, or until ctx ends.
func (g *Gate) Pass(ctx context.Context) error {
	g.arrived <- ctx
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// AwaitCall waits for a call and returns its context.
func (g *Gate) AwaitCall(t testing.TB) context.Context {
	t.Helper()
	select {
	case ctx := <-g.arrived:
		return ctx
	case <-time.After(patience):
		t.Fatal("no call reached the gate")
		return nil
	}
}

// Open lets all calls pass, now and later.
func (g *Gate) Open() { g.once.Do(func() { close(g.open) }) }
