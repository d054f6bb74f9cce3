module spinner/pause

go 1.21
