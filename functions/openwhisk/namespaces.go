package openwhisk

// describe serves GET /, which OpenWhisk's clients ask what the host offers.
func (a *API) describe(c *call) error {
	runtime := func(kind string, isDefault bool) map[string]any {
		return map[string]any{"kind": kind, "default": isDefault, "deprecated": false, "attached": false, "image": "", "requireMain": false}
	}
	return c.ok(map[string]any{
		"api_paths":   []string{"/api/v1"},
		"description": "OpenWhisk",
		"runtimes": map[string]any{
			"nodejs": []any{runtime("nodejs:default", true)},
			"wasm":   []any{runtime("wasm:default", true), runtime("wasm:wasi", false)},
		},
	})
}

// describeVersion serves GET /api/v1.
func (a *API) describeVersion(c *call) error {
	return c.ok(map[string]any{
		"description":      "OpenWhisk API",
		"api_version":      "1.0.0",
		"api_version_path": "v1",
		"build":            "chandler",
		"buildno":          "1",
	})
}

// listNamespaces serves GET /namespaces: a key has one.
func (a *API) listNamespaces(c *call) error { return c.ok([]string{c.who.namespace}) }
