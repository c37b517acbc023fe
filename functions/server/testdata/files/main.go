// Command files is an action: it reads the file that parameter "read" names, and
// writes the one that "write" names.
package main

import (
	"encoding/json"
	"os"
)

func main() {
	var params struct{ Read, Write string }
	answer := map[string]any{}
	if err := json.NewDecoder(os.Stdin).Decode(&params); err != nil {
		answer["fault"] = err.Error()
	}
	if params.Write != "" {
		if err := os.WriteFile(params.Write, []byte("written by an action"), 0o600); err != nil {
			answer["fault"] = err.Error()
		}
	}
	if params.Read != "" {
		content, err := os.ReadFile(params.Read)
		if err != nil {
			answer["fault"] = err.Error()
		}
		answer["content"] = string(content)
	}
	_ = json.NewEncoder(os.Stdout).Encode(answer) // nobody is there to be told
}
