package servicetest

import (
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// testCapacity checks the numbers for placement: none is negative, and the free capacity is
// not larger than the total.
func testCapacity(t *testing.T, h *harness) {
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
