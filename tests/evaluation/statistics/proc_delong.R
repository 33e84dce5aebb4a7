# Makes the stored table that DeLong's method is tested against, with pROC: Rscript tests/evaluation/statistics/proc_delong.R
suppressMessages(library(pROC))
set.seed(1988)

draw <- function(name, positives, negatives, digits) {
  target <- rep(c(1, 0), c(positives, negatives))
  common <- rnorm(length(target))
  score <- function(shift) round(shift * target + sqrt(0.6) * common + sqrt(0.4) * rnorm(length(target)), digits)
  data.frame(set = name, target = target, one = score(1.2), other = score(0.9))
}

compared <- function(cases) {
  one <- roc(cases$target, cases$one, levels = c(0, 1), direction = "<")
  other <- roc(cases$target, cases$other, levels = c(0, 1), direction = "<")
  test <- roc.test(one, other, method = "delong", paired = TRUE)
  data.frame(
    set = cases$set[1], auc1 = as.numeric(auc(one)), auc2 = as.numeric(auc(other)),
    var1 = var(one), var2 = var(other), cov = cov(one, other),
    z = as.numeric(test$statistic), p = as.numeric(test$p.value)
  )
}

sets <- list(
  draw("without ties", 80, 120, 6), draw("with ties", 60, 90, 1), draw("mostly tied", 50, 50, 0),
  draw("unbalanced", 40, 600, 6), draw("ten positives", 10, 200, 2), draw("more positives", 90, 30, 3)
)
folder <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
table <- do.call(rbind, lapply(sets, compared))
table[-1] <- lapply(table[-1], function(values) format(values, digits = 17, scientific = FALSE, trim = TRUE))
file <- file(file.path(folder, "proc_delong.csv"), "w")
origin <- paste0("# pROC ", packageVersion("pROC"), ", ", R.version.string, ", ", Sys.Date(), ": proc_delong.R on proc_delong_cases.csv")
writeLines(origin, file)
write.csv(table, file, row.names = FALSE, quote = FALSE)
close(file)
write.csv(do.call(rbind, sets), file.path(folder, "proc_delong_cases.csv"), row.names = FALSE, quote = FALSE)
