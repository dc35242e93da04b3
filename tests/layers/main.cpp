// Nothing: what is tested is that the libraries link.
int main() {}
