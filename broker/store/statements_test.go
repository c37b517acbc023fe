package store_test

import (
	"errors"
	"testing"

	"github.com/chandler-broker/chandler/broker/store"
)

func TestTogether(t *testing.T) {
	s := migrated(t)
	ctx := t.Context()
	_, err := s.InsertInstance(ctx, s.Pool, store.InsertInstanceParams{ID: "i", Context: []byte(`{}`), Parameters: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		statements func(db store.DBTX) error
		fails      bool
		status     store.Status
	}{
		"none": {func(store.DBTX) error { return nil }, false, store.Creating},
		"in order": {func(db store.DBTX) error {
			return errors.Join(
				s.SetInstanceStatus(ctx, db, store.SetInstanceStatusParams{ID: "i", Status: store.CreateFailed}),
				s.SetInstanceStatus(ctx, db, store.SetInstanceStatusParams{ID: "i", Status: store.Ready}))
		}, false, store.Ready},
		"one that the database refuses": {func(db store.DBTX) error {
			return errors.Join(
				s.SetInstanceStatus(ctx, db, store.SetInstanceStatusParams{ID: "i", Status: store.DeleteFailed}),
				s.SetInstanceStatus(ctx, db, store.SetInstanceStatusParams{ID: "i", Status: "no such status"}))
		}, true, store.Ready},
		"one whose result is needed": {func(db store.DBTX) error {
			_, err := s.Instance(ctx, db, "i")
			return err
		}, true, store.Ready},
		"several whose result is needed": {func(db store.DBTX) error {
			_, err := s.BindingsOfInstance(ctx, db, "i")
			return err
		}, true, store.Ready},
	}
	for _, name := range []string{"none", "in order", "one that the database refuses", "one whose result is needed", "several whose result is needed"} {
		t.Run(name, func(t *testing.T) {
			test := tests[name]
			err := s.InTx(ctx, func(tx *store.Tx) error { return tx.Last(test.statements) })
			if (err != nil) != test.fails {
				t.Errorf("%v", err)
			}
			if i, err := s.Instance(ctx, s.Pool, "i"); err != nil || i.Status != test.status {
				t.Errorf("the instance is %s, not %s (%v)", i.Status, test.status, err)
			}
		})
	}
}
