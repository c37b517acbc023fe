package services_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// panicking is a backend whose client library panics at what its server says.
type panicking struct {
	services.Backend[struct{}, struct{}, struct{}]
	answer []error
}

func (p panicking) Ready(context.Context) error { return p.answer[0] }

func (panicking) Capacity(context.Context) (services.Capacity, error) { panic("hunter2") }

func TestPanicOutsideOfOperations(t *testing.T) {
	d, err := services.Define("queue/panicking", services.Schemas{}, services.Client{},
		func(context.Context, struct{}) (services.Backend[struct{}, struct{}, struct{}], error) {
			return panicking{}, nil
		},
	).Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, capacityErr := d.Capacity(t.Context())
	for call, err := range map[string]error{"Ready": d.Ready(t.Context()), "Capacity": capacityErr} {
		if err == nil || !strings.Contains(err.Error(), "the backend panicked with a ") || strings.Contains(err.Error(), "hunter2") ||
			!strings.Contains(err.Error(), "panicking."+call+" (driver_test.go:") {
			t.Errorf("%s: %v", call, err)
		}
	}
}
