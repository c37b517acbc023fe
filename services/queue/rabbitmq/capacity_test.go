package rabbitmq

import (
	"testing"
	"time"
)

// A node tells what memory it has some seconds after its start.
func TestRoom(t *testing.T) {
	b := newServer(t).backend(t, "room")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Second) {
		free, total, err := b.Capacity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if total.Memory > 0 && free.Memory > 0 && free.Memory < total.Memory {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v of %v are free", free, total)
		}
	}
}
