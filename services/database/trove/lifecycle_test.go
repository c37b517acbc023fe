package trove

import (
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The example of the seed: a database of a character set and collation, a binding and a row.
func TestThinnestPath(t *testing.T) {
	cloud, ctx := newCloud(t), testContext(t)
	b := cloud.backend(t, nil)
	if err := b.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	inst := newInstance(t, "i")
	inst.Params = InstanceParams{CharacterSet: "latin2", Collate: "latin2_general_ci"}
	if err := servicetest.Patient(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servicetest.Patient(b).Deprovision(testContext(t), inst) })
	told, err := b.Describe(ctx, inst)
	if err != nil || told["datastore"] != "mysql" || told["version"] != "5.7.29" || told["status"] != "ACTIVE" || told["volume_gb"] != 1.0 {
		t.Errorf("described: %v, %v", told, err)
	}
	bd := newBinding(t, inst, "b")
	credentials, err := servicetest.Once(b).Bind(ctx, inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	s := dialled(t, credentials)
	s.must(t, "CREATE TABLE t (n INT)", "INSERT INTO t VALUES (1)")
	made := s.ask(t, "SELECT CONCAT(DEFAULT_CHARACTER_SET_NAME, '/', DEFAULT_COLLATION_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = DATABASE()")
	if made != "latin2/latin2_general_ci" {
		t.Errorf("the database has %s", made)
	}
	if err := servicetest.Patient(b).Unbind(ctx, inst, bd); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(ctx); err == nil {
		t.Error("the session outlived its binding")
	}
	if _, err := dial(t, credentials); err == nil || !strings.Contains(err.Error(), "Access denied") {
		t.Errorf("connected after the unbind: %v", err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	cloud.nothingLeft(t, services.InstanceName(inst.ID))
	if err := b.Ready(ctx); err != nil {
		t.Errorf("after the deletion of the only project: %v", err)
	}
}
