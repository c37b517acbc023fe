package catalog_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// FuzzParse holds Parse to three things for any bytes: it does not panic; what
// it refuses it refuses with Faults that tell no secret; and what it accepts it
// can serve.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yml", "testdata/bad/*.yml", "../../catalog.yml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := catalog.Parse("catalog.yml", data, definitions(), environment)
		if err != nil {
			if faults, ok := errors.AsType[catalog.Faults](err); !ok || len(faults) == 0 {
				t.Fatalf("the error is a %T: %s", err, err)
			}
			for _, secret := range environmentSecrets() {
				if strings.Contains(err.Error(), secret) && !strings.Contains(string(data), secret) {
					t.Fatalf("the error tells %q:\n%s", secret, err)
				}
			}
			return
		}
		var read struct{ Services []domain.Service } // as a client with brokerapi's types reads it
		if err := json.Unmarshal(c.JSON(), &read); err != nil || len(read.Services) != len(c.Services()) {
			t.Fatalf("a client cannot read the catalog: %v: %s", err, c.JSON())
		}
		for _, s := range c.Services() {
			for _, p := range s.Plans {
				if got, ok := c.Plan(s.ID, p.ID); !ok || got != p {
					t.Fatalf("the plan %q of the service %q is not found", p.ID, s.ID)
				}
				_ = p.CheckCreate(p.Config.JSON())
			}
		}
	})
}
