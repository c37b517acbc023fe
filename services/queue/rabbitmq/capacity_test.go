package rabbitmq

import (
	"testing"
	"time"
)

// A node reports its memory some seconds after its start.
func TestCapacity(t *testing.T) {
	b := newServer(t).backend(t, "room")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		c, err := b.Capacity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c.Total.Memory > 0 && c.Free.Memory > 0 && c.Free.Memory < c.Total.Memory {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v of %v are free", c.Free, c.Total)
		}
	}
}
