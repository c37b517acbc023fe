package catalog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/catalog"
)

var update = flag.Bool("update", false, "write what the tests find to their golden files, for review")

// golden compares got with a file, or writes it there.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is missing; run the test with -update and review what it writes", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestJSON(t *testing.T) {
	tests := []struct{ name, file string }{
		{"everything there is", "testdata/good.yml"},
		{"a backend's own catalog", "../../services/database/postgres/catalog.yml"},
		{"no services", "testdata/none.yml"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// The real backends read theirs in the test at the top.
			c, err := catalog.Load(test.file, definitions(), environment)
			if err != nil {
				t.Fatal(err)
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, c.JSON(), "", "  "); err != nil {
				t.Fatal(err)
			}
			indented.WriteByte('\n')
			name := strings.TrimSuffix(filepath.Base(test.file), ".yml")
			golden(t, filepath.Join("testdata", name+".json"), indented.String())
			if bytes.Contains(c.JSON(), []byte(":null")) {
				t.Error("there is a null in the catalog; clients refuse it")
			}
		})
	}
}

func TestETag(t *testing.T) {
	parse := func(file string) *catalog.Catalog {
		c, err := catalog.Load(file, definitions(), environment)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, again, other := parse("testdata/good.yml"), parse("testdata/good.yml"), parse("testdata/none.yml")
	if a.ETag() != again.ETag() {
		t.Error("the same file has two entity tags")
	}
	if a.ETag() == other.ETag() {
		t.Error("two catalogs have the same entity tag")
	}
	if tag := a.ETag(); len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' || strings.Contains(tag[1:len(tag)-1], `"`) {
		t.Errorf("%s is no strong entity tag", tag)
	}
}

// TestFaults reads each file of testdata/bad and compares what is reported with
// the .want file beside it.
func TestFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no files to read: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := catalog.Parse("catalog.yml", data, definitions(), environment)
			if err == nil || c != nil {
				t.Fatal("the file was accepted")
			}
			if _, ok := errors.AsType[catalog.Faults](err); !ok {
				t.Fatalf("the error is %T", err)
			}
			golden(t, strings.TrimSuffix(file, ".yml")+".want", err.Error()+"\n")
			keepsSecrets(t, err)
		})
	}
}

// keepsSecrets searches an error for the environment's values and parts of them,
// and for a password that was written into the file as data.
func keepsSecrets(t *testing.T, err error) {
	t.Helper()
	for _, secret := range append(environmentSecrets(), "literal-secret") {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the secret %q:\n%s", secret, err)
		}
	}
}

func environmentSecrets() []string {
	return []string{"hunter2", "correct horse", "1234567890", "tiny$%", "ssw0rd", "pa/ss", `":pa"`, "zebra"}
}
