package openwhisk

import (
	"fmt"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The disk of the database is full: what needs more of it says so, and works once
// there is room again; nothing is left of it.
func TestFullDisk(t *testing.T) {
	disk, ctx := embeddedtest.SmallDisk(t, 128), t.Context()
	database := embeddedtest.PostgresOn(t, disk.Dir())
	url := database.URL("postgres")
	b := (&testServer{embeddedtest.Functions(t, url), url}).open(t)
	if err := b.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	disk.Fill(t)
	var err error
	const most = 1000 // far more than fits into what the tables have already
	var made []instance
	for i := 0; err == nil && i < most; i++ {
		inst := testInstance(t, `{}`)
		inst.ID = fmt.Sprint("full ", i)
		inst.Name = services.InstanceName(inst.ID)
		made = append(made, inst)
		err = servicetest.Once(b).Provision(ctx, inst)
	}
	t.Logf("namespace %d: %v", len(made), err)
	if !services.IsOutOfCapacity(err) {
		t.Errorf("on a full disk: %v", err)
	}
	if err := servicetest.Once(b).Deprovision(ctx, made[0]); err != nil {
		t.Errorf("deprovision on a full disk: %v", err)
	}
	disk.Clear(t)
	if err := servicetest.Once(b).Provision(ctx, made[len(made)-1]); err != nil {
		t.Fatal(err)
	}
	for _, inst := range made {
		if err := servicetest.Once(b).Deprovision(ctx, inst); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := b.List(ctx); len(found) > 0 || err != nil {
		t.Errorf("left: %v, %v", found, err)
	}
}
