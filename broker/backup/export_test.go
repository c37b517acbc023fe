package backup

import "time"

// SetPatience sets how long a call to the store may take.
func (o *Objects) SetPatience(d time.Duration) { o.patience = patience{d, d} }
