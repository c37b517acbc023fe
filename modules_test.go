package chandler_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goList returns what "go list" prints, a word each.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}

// The product's go.mod requires nothing that only tests need but go-cmp, which
// tests in all packages compare with. Tests that need more are in a module of their
// own, such as acceptance.
func TestModulesOfTheProduct(t *testing.T) {
	const comparing = "github.com/google/go-cmp"
	supportsTests := regexp.MustCompile(`/(brokertest|credtest|embeddedtest|servicetest)(/|$)`)
	packages := slices.DeleteFunc(goList(t, "./..."), supportsTests.MatchString)
	used := goList(t, append([]string{"-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}, packages...)...)
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	required := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllSubmatch(text, -1) // without "// indirect"
	if len(packages) < 30 || len(required) < 10 {
		t.Fatalf("%d packages, %d modules", len(packages), len(required))
	}
	for _, match := range required {
		if module := string(match[1]); module != comparing && !slices.Contains(used, module) {
			t.Errorf("go.mod requires %s, which only tests import: move them to a module such as acceptance", module)
		}
	}
}
