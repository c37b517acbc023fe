package embedded

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// Each kind of server starts, has variables, and is empty.
func TestKinds(t *testing.T) {
	for _, kind := range Kinds() {
		t.Run(kind.Folder, func(t *testing.T) {
			o := KindOptions{
				Options: Options{Dir: filepath.Join(reachable(t), kind.Folder), NoSync: true}, Progress: t.Output(),
				Account: Account{Name: "chandler", Password: "secret-secret", SQL: "CREATE USER IF NOT EXISTS chandler"},
			}
			s, err := kind.Start(t.Context(), o)
			if NotInstalled(err) && os.Getenv("CI") != "true" {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			})
			connected := 0
			variables, _ := s.Access(func(string) string { connected++; return "127.0.0.1:1" })
			if connected == 0 || len(variables) == 0 {
				t.Errorf("%d addresses, %d variables", connected, len(variables))
			}
			if _, ok := s.(Process); !ok && kind.Files == nil {
				t.Error("it has neither a process of its own nor Files")
			}
			if names, err := s.Holds(t.Context()); err != nil || len(names) > 0 {
				t.Errorf("a new server holds %q: %v", names, err)
			}
		})
	}
}
