package embedded

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// buildChandler builds the program that a runtime is.
func buildChandler(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "chandler")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "../cmd/chandler")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build chandler: %v\n%s", err, out)
	}
	return binary
}

func statusOf(t *testing.T, url string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// A runtime serves, comes back after a crash on its ports with its key, and goes
// on where it was started before, also in a folder that its user cannot get to.
func TestFunctions(t *testing.T) {
	needPostgres(t)
	database, program, dir := run(t, t.TempDir()), buildChandler(t), t.TempDir()
	start := func() *Functions {
		t.Helper()
		f, err := StartFunctions(t.Context(), FunctionsOptions{Program: program, Dir: dir, DatabaseURL: database.URL("postgres")})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := start()
	serves := func() {
		t.Helper()
		for url, want := range map[string]int{f.URL() + "/api/v1/namespaces": 401, f.AdminURL() + "/readyz": 200, f.AdminURL() + "/metrics": 200} {
			if got := statusOf(t, url); got != want {
				t.Errorf("%s: %d, want %d", url, got, want)
			}
		}
	}
	serves()
	url, admin, key := f.URL(), f.AdminURL(), f.Key()
	f.Kill()
	if err := <-f.Done(); err == nil {
		t.Error("nobody is told of its end")
	}
	if got := statusOf(t, url+"/api/v1"); got != 0 {
		t.Errorf("it was killed and answers %d", got)
	}
	if err := f.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	serves()
	if err := f.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	f = start()
	defer func() {
		if err := f.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	serves()
	if f.URL() != url || f.AdminURL() != admin || f.Key() != key {
		t.Error("the second start has other ports or another key")
	}
	if _, err := StartFunctions(t.Context(), FunctionsOptions{Program: program, Dir: dir, DatabaseURL: database.URL("postgres")}); err == nil {
		t.Error("two runtimes on one folder")
	}
}
