package embedded

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// helperFolder makes this test binary a parent of a server in the named
// folder: one that tests can kill.
const helperFolder = "EMBEDDED_TEST_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperFolder); dir != "" {
		helper(dir)
	}
	os.Exit(m.Run())
}

func helper(dir string) {
	s, err := StartPostgres(context.Background(), Options{Dir: dir, NoSync: true})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(s.URL("postgres"))
	select {}
}
