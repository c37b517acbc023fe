package admin

const (
	RemovedAtOnce = removedAtOnce
	FeedPatience  = feedPatience
	MaxBody       = maxBody
)

// Routes are the methods and paths that are served.
func Routes() (all []string) {
	for _, r := range routes() {
		all = append(all, r.method+" "+Prefix+r.path)
	}
	return append(all, "GET "+Prefix+"openapi.yaml")
}

// Document is openapi.yaml.
func Document() []byte { return document }
