package sandbox

// CodeError says what is wrong with the user's code. Its text is for the user.
type CodeError struct{ Reason string }

func (e *CodeError) Error() string { return e.Reason }
