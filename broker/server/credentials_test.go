package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/credhub/credtest"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

// A broker that is pointed at another credential store than before says so,
// instead of answering errors to every binding that is fetched.
func TestCheckCredentials(t *testing.T) {
	ctx := context.Background()
	s, err := store.Open(ctx, embeddedtest.Database(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(ctx, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	right, other := &credtest.Memory{}, &credtest.Memory{}
	check := func(c credhub.Store) error { return (&Server{store: s, credentials: c}).checkCredentials(ctx) }
	if err := check(other); err != nil {
		t.Errorf("without a binding: %v", err)
	}

	none := json.RawMessage("{}")
	_, err = s.InsertInstance(ctx, s.Pool, store.InsertInstanceParams{ID: "i", Context: none, Parameters: none})
	if err != nil {
		t.Fatal(err)
	}
	err = s.InsertBinding(ctx, s.Pool, store.InsertBindingParams{ID: "b", InstanceID: "i", BindResource: none, Context: none, Parameters: none, Delivery: credhub.Inline})
	if err != nil {
		t.Fatal(err)
	}
	if err := check(other); err != nil {
		t.Errorf("with a binding that is being made: %v", err)
	}
	if err := s.SetBindingReady(ctx, s.Pool, store.SetBindingReadyParams{ID: "b", Endpoints: json.RawMessage("[]")}); err != nil {
		t.Fatal(err)
	}
	if err := right.Put(ctx, credhub.CredentialsPath("i", "b"), json.RawMessage(`{"password": "x"}`)); err != nil {
		t.Fatal(err)
	}
	if err := check(right); err != nil {
		t.Errorf("with the right store: %v", err)
	}
	if err := check(other); !isConfig(err) || !strings.Contains(err.Error(), "binding b are not in this credential store") {
		t.Errorf("with another store: %v", err)
	}
}
