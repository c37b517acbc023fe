package servicetest

import (
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// testRoom asks for what placement goes by: of what is told, neither is negative,
// and there is not more left than there is.
func testRoom(t *testing.T, h *harness) {
	c, err := h.driver.Functions.Capacity.OrZero(t.Context(), services.None{})
	if err != nil {
		t.Fatal(err)
	}
	takes, err := h.driver.Functions.Footprint.OrZero(t.Context(), h.driver.Plan(h.Plan))
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range []struct {
		name               string
		free, total, takes services.Size
	}{
		{"storage", c.Free.Storage, c.Total.Storage, takes.Storage},
		{"memory", c.Free.Memory, c.Total.Memory, takes.Memory},
	} {
		if unit.free < 0 || unit.free > unit.total {
			t.Errorf("%s: %d of %d bytes are free", unit.name, unit.free, unit.total)
		}
		if unit.takes < 0 {
			t.Errorf("%s: an instance takes %d bytes", unit.name, unit.takes)
		}
	}
	t.Logf("an instance takes %v; %v of %v are free", takes, c.Free, c.Total)
}
