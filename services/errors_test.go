package services_test

import (
	"errors"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

func TestExplain(t *testing.T) {
	full, away := errors.New("no space left"), errors.New("connection refused")
	advice := []services.Advice{
		{About: func(err error) bool { return errors.Is(err, full) }, Text: "free space", Full: true},
		{About: func(err error) bool { return errors.Is(err, away) }, Text: "start it"},
		{About: func(error) bool { return true }, Text: "read its log"},
	}
	for name, c := range map[string]struct {
		err    error
		advice []services.Advice
		want   string
		full   bool
	}{
		"the first advice about the error": {away, advice, "list: start it: connection refused", false},
		"advice about every error":         {errors.New("odd"), advice, "list: read its log: odd", false},
		"a full disk":                      {full, advice, "list: free space: no space left", true},
		"no advice":                        {full, advice[1:2], "list: no space left", false},
		"the user's error":                 {services.Rejected("parameters.zone: taken"), advice, "parameters.zone: taken", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := services.Explain("list", c.err, c.advice)
			if err.Error() != c.want || !errors.Is(err, c.err) || services.IsOutOfCapacity(err) != c.full {
				t.Errorf("%q, out of capacity: %t; want %q, %t", err, services.IsOutOfCapacity(err), c.want, c.full)
			}
		})
	}
	if err := services.Explain("list", nil, advice); err != nil {
		t.Errorf("success is explained: %v", err)
	}
}
