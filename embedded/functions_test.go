package embedded

import (
	"context"
	"net/http"
	"testing"
	"time"
)

// functionsProgramOf builds the program that a runtime is.
func functionsProgramOf(t *testing.T) string {
	t.Helper()
	program, err := BuildFunctions(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return program
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
	database, program, dir := run(t, t.TempDir()), functionsProgramOf(t), t.TempDir()
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
		for url, want := range map[string]int{f.URL() + "/api/v1/namespaces": 401, f.AdminURL() + "/admin/v1/ready": 401, f.AdminURL() + "/readyz": 200, f.AdminURL() + "/metrics": 200} {
			if got := statusOf(t, url); got != want {
				t.Errorf("%s: %d, want %d", url, got, want)
			}
		}
	}
	serves()
	url, admin, key, token := f.URL(), f.AdminURL(), f.Key(), f.AdminToken()
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
	if f.URL() != url || f.AdminURL() != admin || f.Key() != key || f.AdminToken() != token {
		t.Error("the second start has other ports, another key or another token")
	}
	if _, err := StartFunctions(t.Context(), FunctionsOptions{Program: program, Dir: dir, DatabaseURL: database.URL("postgres")}); err == nil {
		t.Error("two runtimes share a folder")
	}
}
